//! Turns instruction pointers into frames: functions, inlined ones included, lines and files.
//!
//! Lives on the aggregator thread; nothing here is ever called from the allocator. Allocates, reads
//! files and, per address, takes the process-wide lock of the `backtrace` crate for a moment. Each
//! address is asked for once: the caller keeps the frames.
//!
//! Names come from debug information where it has paths, otherwise from the symbol table:
//! `debug = "line-tables-only"` calls `app::Cache<T>::insert` just `insert`. Files loaded after the
//! first look-up have no lines, because `backtrace` lists loaded files once; they are never asked
//! of it, since it could take them for files that were unloaded. Nor is anything asked of a file that
//! has taken the path of a loaded library, as updates do: its build id is another one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::thread;

use ahash::{AHashMap, AHashSet};
use heaptally_capture::{PROCESS, RecordedIp};
use heaptally_profile::{Frame, Line, Mapping, SymbolQuality};
use rustc_demangle::demangle;

use super::elf_symbols::{self, ElfSymbols};
use super::function_path::is_bare;
use super::mappings::Mappings;
use crate::Symbolize;

/// How many addresses are looked up before other threads that want the lock of the `backtrace`
/// crate get the processor.
const BATCH: usize = 16;

/// Looks up instruction pointers of this process.
#[derive(Debug)]
pub(crate) struct Symbolizer {
    source: Source,
    mappings: Mappings,
    /// The files that the `backtrace` crate knows; `None` before it was asked first.
    with_debug_info: Option<Vec<Arc<Mapping>>>,
    /// Symbol tables, read when first needed.
    symbol_tables: AHashMap<Place, Option<ElfSymbols>>,
    /// Whether the file at the path of a library is the one that is loaded, for the addresses that are being looked up.
    files_checked: AHashMap<Place, bool>,
    /// Names and files handed out, so that equal ones share their memory.
    texts: AHashSet<Arc<str>>,
    quality: SymbolQuality,
}

/// A mapping, as long as it lasts: how often files had been loaded or unloaded, 0 for the executable, and where it begins.
type Place = (u64, u64);

/// Where names are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    DebugInfo,
    /// The reader of debug information panicked: its lock is poisoned and must not be touched.
    SymbolTables,
    Mappings,
    Nothing,
}

/// One line as debug information has it.
struct RawLine {
    function: Option<String>,
    file: Option<String>,
    line: Option<u32>,
}

impl Symbolizer {
    /// Loads nothing yet.
    pub(crate) fn new(mode: Symbolize) -> Self {
        Self::with_source(match mode {
            Symbolize::Full => Source::DebugInfo,
            Symbolize::Off => Source::Mappings,
        })
    }

    /// Gives bare addresses and touches no lock. For the child of a fork whose parent was
    /// symbolizing at that instant: the locks may be held for ever.
    pub(crate) fn addresses_only() -> Self {
        Self::with_source(Source::Nothing)
    }

    fn with_source(source: Source) -> Self {
        Self {
            source,
            mappings: Mappings::default(),
            with_debug_info: None,
            symbol_tables: AHashMap::new(),
            files_checked: AHashMap::new(),
            texts: AHashSet::new(),
            quality: SymbolQuality::default(),
        }
    }

    /// The frame at an instruction pointer as captured: a return address is looked up at the call
    /// before it. Counts in [`quality`](Self::quality) each time.
    pub(crate) fn frame(&mut self, ip: u64) -> Frame {
        // The `backtrace` crate looks at the byte before on its own; this is for our tables.
        let address = ip.wrapping_sub(1);
        let mapping = match self.source {
            Source::Nothing => None,
            _ if ip == 0 => None,
            _ => self.mappings.find(address),
        };
        let lines = match &mapping {
            Some(mapping) if self.has_names(mapping) => self.lines(ip, mapping),
            _ => [].into(),
        };
        Frame { ip, mapping, lines }
    }

    /// The frame at an instruction pointer as records have it, with the generation of a module that may be unloaded.
    /// Without names when the module is gone: another one may lie at its place.
    fn recorded_frame(&mut self, recorded: u64) -> Frame {
        let RecordedIp { ip, generation } = RecordedIp::from(recorded);
        let is_loaded = || generation == 0 || PROCESS.unwinder.modules.is_loaded(generation);
        if is_loaded() {
            let frame = self.frame(ip);
            // It may have been unloaded while its names were looked up.
            if is_loaded() {
                return frame;
            }
        }
        Frame { ip, mapping: None, lines: [].into() }
    }

    /// Like [`frame`](Self::frame) for many instruction pointers as records have them, letting other threads in now and
    /// then. Gives each with the number it was asked for by.
    pub(crate) fn frames(&mut self, ips: &[u64], mut out: impl FnMut(u64, Frame)) {
        if self.source != Source::Nothing {
            // An address may lie in a file that took the place of one that was unloaded.
            self.mappings.refresh();
        }
        self.files_checked.clear();
        for batch in ips.chunks(BATCH) {
            for &recorded in batch {
                out(recorded, self.recorded_frame(recorded));
            }
            thread::yield_now();
        }
    }

    /// What was found so far at addresses of the program's own executable. Nothing is counted when
    /// names are switched off.
    pub(crate) fn quality(&self) -> SymbolQuality {
        self.quality
    }

    /// Whether a mapping is the program's own executable.
    pub(crate) fn is_main(&self, mapping: &Mapping) -> bool {
        self.mappings.is_main(mapping)
    }

    /// Gives back the memory of debug information and symbol tables; the next look-up reads them
    /// again.
    pub(crate) fn release_caches(&mut self) {
        self.symbol_tables = AHashMap::new();
        self.texts = AHashSet::new();
        if self.source == Source::DebugInfo && self.with_debug_info.is_some() {
            self.guarded(backtrace::clear_symbol_cache);
        }
    }

    /// Whether names are to be looked up, and the file of the mapping is what was loaded, as far as that can be told.
    fn has_names(&mut self, mapping: &Mapping) -> bool {
        if !matches!(self.source, Source::DebugInfo | Source::SymbolTables) {
            return false;
        }
        let (Some(loaded), false) = (&mapping.build_id, self.is_main(mapping)) else { return true };
        let Some(path) = self.mappings.file(mapping) else { return true };
        let place = self.place(mapping);
        let is_it = || elf_symbols::build_id(path).as_ref() == Some(loaded);
        *self.files_checked.entry(place).or_insert_with(is_it)
    }

    fn place(&self, mapping: &Mapping) -> Place {
        (if self.is_main(mapping) { 0 } else { self.mappings.looks() }, mapping.start)
    }

    fn lines(&mut self, ip: u64, mapping: &Arc<Mapping>) -> Arc<[Line]> {
        let mut raw = self.debug_info(ip, mapping);
        // The outermost line is the function that the symbol table knows.
        let outermost = raw.last().and_then(|line| line.function.as_deref());
        let mut bare = false;
        if outermost.is_none_or(is_bare)
            && let Some(name) = self.symbol_table_name(ip.wrapping_sub(1), mapping)
        {
            bare = outermost.is_some() && !is_bare(&name);
            match raw.last_mut() {
                // A C function is bare in both; debug information knows it by its own name.
                Some(line) if line.function.is_none() || bare => line.function = Some(name),
                Some(_) => {}
                None => raw.push(RawLine { function: Some(name), file: None, line: None }),
            }
        }
        let lines: Arc<[Line]> = raw
            .into_iter()
            .filter_map(|line| {
                Some(Line {
                    function: self.share(line.function?),
                    file: line.file.map(|file| self.share(file)),
                    line: line.line,
                })
            })
            .collect();
        if self.mappings.is_main(mapping) {
            self.count(&lines, bare);
        }
        lines
    }

    fn count(&mut self, lines: &[Line], bare: bool) {
        let quality = &mut self.quality;
        quality.addresses += 1;
        let Some((outermost, inlined)) = lines.split_last() else {
            quality.nameless += 1;
            return;
        };
        if outermost.file.is_some() {
            quality.with_lines += 1;
        } else {
            quality.names_only += 1;
        }
        quality.inlined_frames |= !inlined.is_empty();
        if bare || inlined.iter().any(|line| is_bare(&line.function)) {
            quality.bare_names += 1;
        }
    }

    /// What debug information says, innermost inlined function first.
    fn debug_info(&mut self, ip: u64, mapping: &Mapping) -> Vec<RawLine> {
        let mut lines = Vec::new();
        if self.source != Source::DebugInfo || !self.has_debug_info(mapping) {
            return lines;
        }
        let Ok(ip) = usize::try_from(ip) else {
            return lines;
        };
        self.guarded(|| {
            backtrace::resolve(ptr::without_provenance_mut(ip), |symbol| {
                lines.push(RawLine {
                    // `{:#}` leaves out the hash.
                    function: symbol.name().map(|name| format!("{name:#}")),
                    file: symbol.filename().map(|file| file.to_string_lossy().into_owned()),
                    line: symbol.lineno(),
                });
            });
        });
        lines
    }

    /// Whether the file was loaded when the `backtrace` crate listed the loaded files. Makes it list
    /// them at the first call.
    fn has_debug_info(&mut self, mapping: &Mapping) -> bool {
        if self.with_debug_info.is_none() {
            self.with_debug_info = Some(self.mappings.iter().cloned().collect());
            self.guarded(|| backtrace::resolve(ptr::null_mut(), |_| {}));
        }
        self.with_debug_info.iter().flatten().any(|known| known.start == mapping.start && **known == *mapping)
    }

    /// Runs something inside of the `backtrace` crate. After a panic there, its lock is poisoned
    /// and would even let two threads in: it is not entered again.
    fn guarded(&mut self, look_up: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(look_up)).is_err() {
            self.source = Source::SymbolTables;
        }
    }

    /// The demangled name of the function around an address.
    fn symbol_table_name(&mut self, address: u64, mapping: &Mapping) -> Option<String> {
        let place = self.place(mapping);
        let file = self.mappings.file(mapping)?;
        let table = self.symbol_tables.entry(place).or_insert_with(|| ElfSymbols::read(file));
        let name = table.as_ref()?.name_at(address.wrapping_sub(mapping.start))?;
        Some(format!("{:#}", demangle(name)))
    }

    fn share(&mut self, text: String) -> Arc<str> {
        if let Some(shared) = self.texts.get(text.as_str()) {
            return shared.clone();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(shared.clone());
        shared
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "the tests need addresses of known functions")]
mod tests {
    use super::*;
    use std::hint::black_box;

    /// The instruction pointers of the caller and everything above it.
    #[inline(never)]
    fn capture() -> Vec<u64> {
        let mut ips = Vec::new();
        backtrace::trace(|frame| {
            ips.push(frame.ip() as u64);
            true
        });
        ips
    }

    #[inline(never)]
    fn plain() -> Vec<u64> {
        black_box(capture())
    }

    #[inline(always)]
    fn inlined() -> Vec<u64> {
        black_box(capture())
    }

    #[inline(never)]
    fn around_inlined() -> Vec<u64> {
        black_box(inlined())
    }

    fn path(name: &str) -> String {
        format!("{}::{name}", module_path!())
    }

    /// All frames, the lines flattened.
    fn functions(symbolizer: &mut Symbolizer, ips: &[u64]) -> Vec<String> {
        let mut functions = Vec::new();
        symbolizer.frames(ips, |_, frame| {
            functions.extend(frame.lines.iter().map(|line| line.function.to_string()));
        });
        functions
    }

    #[test]
    fn a_frame_has_function_file_line_and_mapping() {
        let mut symbolizer = Symbolizer::new(Symbolize::Full);
        let mut found = None;
        symbolizer.frames(&plain(), |ip, frame| {
            assert_eq!(frame.ip, ip);
            if frame.lines.last().is_some_and(|line| *line.function == *path("plain")) {
                found = Some(frame);
            }
        });
        let frame = found.unwrap();
        let line = frame.lines.last().unwrap();
        assert!(line.file.as_ref().unwrap().ends_with("symbolizer.rs"));
        assert!(line.line.unwrap() > 200);
        assert!(symbolizer.is_main(frame.mapping.as_ref().unwrap()));
    }

    #[test]
    fn inlined_functions_come_before_the_one_they_are_in() {
        let functions = functions(&mut Symbolizer::new(Symbolize::Full), &around_inlined());
        let at = |name| functions.iter().position(|function| *function == path(name));
        assert_eq!(at("inlined").unwrap() + 1, at("around_inlined").unwrap());
    }

    #[test]
    fn the_c_library_has_names_too_but_does_not_count() {
        let mut symbolizer = Symbolizer::new(Symbolize::Full);
        // SAFETY: looks up a symbol by its name; no code runs.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getpid".as_ptr()) } as u64;
        let frame = symbolizer.frame(address + 1);
        assert!(frame.lines[0].function.ends_with("getpid"));
        assert!(!symbolizer.is_main(frame.mapping.as_ref().unwrap()));
        assert_eq!(symbolizer.quality(), SymbolQuality::default());
    }

    #[test]
    fn symbol_tables_serve_when_debug_information_cannot() {
        let ips = plain();
        let mut symbolizer = Symbolizer::new(Symbolize::Full);
        symbolizer.guarded(|| std::panic::resume_unwind(Box::new(())));
        assert!(functions(&mut symbolizer, &ips).contains(&path("plain")));
        let quality = symbolizer.quality();
        assert!(quality.names_only > 0);
        assert_eq!((quality.with_lines, quality.inlined_frames), (0, false));
    }

    #[test]
    fn files_loaded_later_are_asked_of_their_symbol_table() {
        let mut symbolizer = Symbolizer::new(Symbolize::Full);
        symbolizer.with_debug_info = Some(Vec::new());
        let functions = functions(&mut symbolizer, &plain());
        assert!(functions.contains(&path("plain")));
        assert_eq!(symbolizer.quality().with_lines, 0);
    }

    #[test]
    fn quality_counts_every_address_of_the_program_once() {
        let mut symbolizer = Symbolizer::new(Symbolize::Full);
        let (mut own, ips) = (0, around_inlined());
        let mut mappings = Mappings::default();
        for ip in ips.iter().filter(|ip| **ip != 0) {
            let mapping = mappings.find(ip - 1);
            own += u64::from(mapping.is_some_and(|mapping| mappings.is_main(&mapping)));
        }
        functions(&mut symbolizer, &ips);
        let quality = symbolizer.quality();
        assert_eq!(quality.addresses, own);
        assert_eq!(quality.with_lines + quality.names_only + quality.nameless, own);
        assert!(quality.with_lines > 0 && quality.inlined_frames);
        assert_eq!(quality.bare_names, 0);
    }

    #[test]
    fn switched_off_it_keeps_addresses_and_files() {
        let mut symbolizer = Symbolizer::new(Symbolize::Off);
        let ip = plain()[0];
        let frame = symbolizer.frame(ip);
        assert_eq!((frame.ip, frame.lines.len()), (ip, 0));
        assert!(symbolizer.is_main(frame.mapping.as_ref().unwrap()));
        assert_eq!(symbolizer.quality(), SymbolQuality::default());
    }

    #[test]
    fn addresses_only_knows_nothing_else() {
        let mut symbolizer = Symbolizer::addresses_only();
        let ips = plain();
        let mut seen = Vec::new();
        symbolizer.frames(&ips, |ip, frame| {
            assert_eq!((frame.mapping, frame.lines.len()), (None, 0));
            seen.push(ip);
        });
        symbolizer.release_caches();
        assert_eq!(seen, ips);
    }

    #[test]
    fn odd_addresses_give_nameless_frames() {
        let mut symbolizer = Symbolizer::new(Symbolize::Full);
        for ip in [0, 1, 0xfff, u64::MAX, u64::MAX - 1, 1 << 47, &raw const ip_of_data as u64] {
            assert_eq!(symbolizer.frame(ip).lines.len(), 0, "{ip:#x}");
        }
    }

    #[expect(non_upper_case_globals, reason = "stands for an address")]
    static mut ip_of_data: u64 = 0;

    #[test]
    fn released_caches_are_read_again() {
        let mut symbolizer = Symbolizer::new(Symbolize::Full);
        let ips = around_inlined();
        let before = functions(&mut symbolizer, &ips);
        symbolizer.release_caches();
        assert!(symbolizer.symbol_tables.is_empty() && symbolizer.texts.is_empty());
        assert_eq!(functions(&mut symbolizer, &ips), before);
    }

    #[test]
    fn equal_texts_share_their_memory() {
        let mut symbolizer = Symbolizer::new(Symbolize::Full);
        let (ip, mut files) = (plain()[1], Vec::new());
        symbolizer.frames(&[ip, ip], |_, frame| files.push(frame.lines[0].file.clone().unwrap()));
        assert!(Arc::ptr_eq(&files[0], &files[1]));
    }
}
