//! The files that are loaded into the process: which one an address belongs to.
//!
//! Used by the symbolizer on the aggregator thread. Allocates, and takes the loader's lock for as
//! long as it copies a few words per file; never called from the allocator. Knows no symbols.
#![allow(unsafe_code, reason = "the loader calls back with pointers to what it knows")]

use std::ffi::{CStr, c_int, c_void};
use std::fs;
use std::slice;
use std::sync::Arc;

use heaptally_profile::{Mapping, Segment};

/// What opens the program's executable even after it was replaced on disk.
const MAIN_FILE: &str = "/proc/self/exe";

/// The name of the code that the kernel maps into every process. It has no file.
const VDSO: &str = "[vdso]";

/// The loaded files as they were when last looked at.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    /// Executable segments, sorted by address. They do not overlap.
    segments: Vec<Placed>,
    main: Option<Arc<Mapping>>,
    /// How many files the loader had loaded and unloaded; `None` before the first look.
    changes: Option<Changes>,
    /// How often it had changed something.
    looks: u64,
}

/// The loader's counters of files loaded and unloaded since the start of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Changes {
    loaded: u64,
    unloaded: u64,
}

/// An executable segment, and the file that it is of.
#[derive(Debug)]
struct Placed {
    segment: Segment,
    mapping: Arc<Mapping>,
}

impl Mappings {
    /// The file that contains an address. Looks at the loaded files again when it is unknown.
    pub(crate) fn find(&mut self, address: u64) -> Option<Arc<Mapping>> {
        if self.lookup(address).is_none() {
            self.refresh();
        }
        self.lookup(address).cloned()
    }

    /// Looks at the loaded files again if any was loaded or unloaded since. Files that are still
    /// there keep their `Arc`.
    pub(crate) fn refresh(&mut self) {
        let mut look = Look { known: self.changes, changes: self.changes, files: Vec::new() };
        // SAFETY: `visit` is called with a valid `dl_phdr_info` and the pointer given here, which
        // points to a `Look` that outlives the call and that nobody else uses meanwhile.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut look).cast()) };
        if look.files.is_empty() {
            return;
        }
        let mut segments = Vec::new();
        for (index, file) in look.files.into_iter().enumerate() {
            // The executable comes first, without a name.
            let is_main = index == 0;
            let mapping = self.keep(Mapping {
                path: file_path(&file, is_main),
                build_id: file.build_id,
                start: file.bias,
                segments: file.segments,
            });
            segments.extend(mapping.segments.iter().map(|&segment| Placed { segment, mapping: mapping.clone() }));
            if is_main {
                self.main = Some(mapping);
            }
        }
        segments.sort_unstable_by_key(|placed| placed.segment.start);
        self.segments = segments;
        self.changes = look.changes;
        self.looks += 1;
    }

    /// A number that changes whenever files were loaded or unloaded, as far as was looked.
    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }

    /// The files seen at the last look, each as often as it has executable segments.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Mapping>> {
        self.segments.iter().map(|placed| &placed.mapping)
    }

    /// Whether a mapping is the program's own executable. False before the first look.
    pub(crate) fn is_main(&self, mapping: &Mapping) -> bool {
        self.main.as_deref() == Some(mapping)
    }

    /// Where the file of a mapping can be read; `None` for one without a file.
    pub(crate) fn file<'a>(&self, mapping: &'a Mapping) -> Option<&'a str> {
        if self.is_main(mapping) { Some(MAIN_FILE) } else { Some(mapping.path.as_str()).filter(|path| *path != VDSO) }
    }

    fn lookup(&self, address: u64) -> Option<&Arc<Mapping>> {
        let next = self.segments.partition_point(|placed| placed.segment.start <= address);
        let placed = self.segments.get(next.checked_sub(1)?)?;
        (address < placed.segment.limit).then_some(&placed.mapping)
    }

    fn keep(&self, mapping: Mapping) -> Arc<Mapping> {
        match self.iter().find(|known| known.start == mapping.start && ***known == mapping) {
            Some(known) => known.clone(),
            None => Arc::new(mapping),
        }
    }
}

/// What the callback of the loader collects.
struct Look {
    known: Option<Changes>,
    changes: Option<Changes>,
    files: Vec<LoadedFile>,
}

struct LoadedFile {
    name: String,
    bias: u64,
    build_id: Option<String>,
    segments: Vec<Segment>,
}

fn file_path(file: &LoadedFile, is_main: bool) -> String {
    // SAFETY: reads the process's auxiliary vector, which needs nothing.
    let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    if is_main {
        let path = fs::read_link(MAIN_FILE).map(|path| path.to_string_lossy().into_owned());
        path.unwrap_or_else(|_| MAIN_FILE.into())
    } else if vdso != 0 && file.segments.iter().any(|segment| (segment.start..segment.limit).contains(&vdso)) {
        VDSO.into()
    } else {
        file.name.clone()
    }
}

/// Called by the loader once per loaded file, with its lock held. Ends the walk at once when
/// nothing changed.
///
/// # Safety
///
/// `info` is valid, and `look` points to a [`Look`] that nobody else uses during the call.
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, look: *mut c_void) -> c_int {
    // SAFETY: both pointers are valid as the caller promises.
    let (info, look) = unsafe { (&*info, &mut *look.cast::<Look>()) };
    let changes = Changes { loaded: info.dlpi_adds, unloaded: info.dlpi_subs };
    if look.known == Some(changes) {
        return 1;
    }
    look.changes = Some(changes);
    let headers = if info.dlpi_phdr.is_null() {
        &[]
    } else {
        // SAFETY: the loader gives the file's program headers and how many there are.
        unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
    };
    let name = if info.dlpi_name.is_null() {
        String::new()
    } else {
        // SAFETY: a name that is not null is a C string that lives as long as the file is loaded.
        let name = unsafe { CStr::from_ptr(info.dlpi_name) };
        name.to_string_lossy().into_owned()
    };
    let in_memory = |header: &libc::Elf64_Phdr| {
        let start = info.dlpi_addr.wrapping_add(header.p_vaddr);
        Segment { start, limit: start.saturating_add(header.p_memsz), offset: header.p_offset }
    };
    let loaded = |flag: u32| {
        headers.iter().filter(move |header| header.p_type == libc::PT_LOAD && header.p_flags & flag != 0).map(in_memory)
    };
    let build_id = headers.iter().filter(|header| header.p_type == libc::PT_NOTE).find_map(|header| {
        let notes = in_memory(header);
        loaded(libc::PF_R).find(|segment| segment.start <= notes.start && notes.limit <= segment.limit)?;
        let length = usize::try_from(header.p_memsz).ok()?;
        // SAFETY: the notes lie inside a readable segment of a file that stays loaded while the
        // loader's lock is held, and nothing writes to them.
        let notes = unsafe { slice::from_raw_parts(notes.start as *const u8, length) };
        build_id(notes, if header.p_align == 8 { 8 } else { 4 })
    });
    let mut segments: Vec<Segment> = loaded(libc::PF_X).collect();
    segments.sort_unstable_by_key(|segment| segment.start);
    look.files.push(LoadedFile { name, bias: info.dlpi_addr, build_id, segments });
    0
}

/// Finds the build id among ELF notes: three words (length of the name, length of the content,
/// type), the name and the content, each padded.
pub(super) fn build_id(mut notes: &[u8], alignment: usize) -> Option<String> {
    const GNU_BUILD_ID: u32 = 3;
    let word = |notes: &[u8], at: usize| {
        let bytes = notes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes))
    };
    loop {
        let name_length = usize::try_from(word(notes, 0)?).ok()?;
        let length = usize::try_from(word(notes, 4)?).ok()?;
        let kind = word(notes, 8)?;
        let name = notes.get(12..12usize.checked_add(name_length)?)?;
        let start = (12 + name_length).checked_next_multiple_of(alignment)?;
        let end = start.checked_add(length)?;
        let content = notes.get(start..end)?;
        if kind == GNU_BUILD_ID && name == b"GNU\0" {
            return Some(content.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        notes = notes.get(end.checked_next_multiple_of(alignment)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_the_program_is_in_its_executable() {
        let mut mappings = Mappings::default();
        let address = build_id as fn(&'static [u8], usize) -> Option<String> as usize as u64;
        let mapping = mappings.find(address).unwrap();
        assert!(mappings.is_main(&mapping));
        assert_eq!(mapping.path, std::env::current_exe().unwrap().to_str().unwrap());
        assert_eq!(mappings.file(&mapping), Some("/proc/self/exe"));
        assert!(address > mapping.start);
        let segment = mapping.segment(address + 1).unwrap();
        // What was loaded is what lies in the file.
        let file = std::fs::read(&mapping.path).unwrap();
        let at = (address - segment.start + segment.offset) as usize;
        // SAFETY: the code of the function, which is longer than 16 bytes and stays where it is.
        let code = unsafe { slice::from_raw_parts(address as *const u8, 16) };
        assert_eq!(file[at..at + 16], *code);
    }

    #[test]
    fn a_function_of_the_c_library_is_in_another_file() {
        let mut mappings = Mappings::default();
        // SAFETY: looks up a symbol by its name; no code runs.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getpid".as_ptr()) } as u64;
        let mapping = mappings.find(address).unwrap();
        assert!(!mappings.is_main(&mapping));
        assert_eq!(mappings.file(&mapping), Some(mapping.path.as_str()));
        assert!(mapping.path.contains("libc"), "{}", mapping.path);
        assert!(mapping.build_id.as_ref().is_none_or(|id| id.len() >= 16));
    }

    #[test]
    fn the_code_of_the_kernel_has_a_name_and_no_file() {
        let mut mappings = Mappings::default();
        mappings.refresh();
        // SAFETY: reads the process's auxiliary vector, which needs nothing.
        let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
        if vdso != 0 {
            let mapping = mappings.find(vdso).unwrap();
            assert_eq!(mapping.path, "[vdso]");
            assert_eq!(mappings.file(&mapping), None);
        }
    }

    #[test]
    fn unknown_addresses_have_no_mapping_and_known_files_keep_their_arc() {
        let mut mappings = Mappings::default();
        let address = build_id as fn(&'static [u8], usize) -> Option<String> as usize as u64;
        let first = mappings.find(address).unwrap();
        for unknown in [0, 1, u64::MAX, u64::MAX - 1] {
            assert_eq!(mappings.find(unknown), None);
        }
        mappings.changes = None;
        mappings.refresh();
        assert!(Arc::ptr_eq(&first, &mappings.find(address).unwrap()));
    }

    #[test]
    fn the_build_id_is_found_among_other_notes() {
        let note = |name: &[u8], kind: u32, content: &[u8]| {
            let mut note = Vec::new();
            note.extend((name.len() as u32).to_ne_bytes());
            note.extend((content.len() as u32).to_ne_bytes());
            note.extend(kind.to_ne_bytes());
            for part in [name, content] {
                note.extend(part);
                note.resize(note.len().next_multiple_of(4), 0);
            }
            note
        };
        let other = note(b"GNU\0", 1, &[1, 2, 3, 4, 5]);
        let foreign = note(b"Go\0\0", 3, &[9]);
        let wanted = note(b"GNU\0", 3, &[0x0a, 0xbc, 0x1d]);
        let notes = [other.clone(), foreign, wanted.clone()].concat();
        assert_eq!(build_id(&notes, 4).as_deref(), Some("0abc1d"));
        assert_eq!(build_id(&other, 4), None);
        assert_eq!(build_id(&wanted[..wanted.len() - 2], 4), None);
        assert_eq!(build_id(&[0xff; 12], 4), None);
        assert_eq!(build_id(&[], 4), None);
    }
}
