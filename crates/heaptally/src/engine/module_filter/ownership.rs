//! What a stack is charged to, and what is said of one that no module of the user owns.
//!
//! Pure functions of frames; called by the module filter on the aggregator thread; allocates nothing.

use heaptally_profile::{Frame, Line, Mapping};

use super::{ModuleRef, crate_of, is_allocator, is_runtime};

/// What a stack is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership<'a> {
    /// The innermost line that belongs to one of the user's modules.
    Module { module: ModuleRef<'a>, line: &'a Line },
    /// No line belongs: the innermost crate outside the standard library, `std` where there is
    /// none, or the file name of the mapping where there is only C code.
    Other { crate_name: &'a str },
    /// The program's own frames have no names.
    NoSymbols,
}

/// What a stack without an owner has shown so far.
#[derive(Default)]
pub(super) struct Seen<'a> {
    /// The innermost crate that is not the standard library.
    foreign_crate: Option<&'a str>,
    /// Some function with a Rust path.
    rust: bool,
    /// Some function of the program's own executable, with and without a name.
    main_frames: bool,
    main_names: bool,
    /// Any function with a name.
    names: bool,
    /// The innermost mapping.
    mapping: Option<&'a Mapping>,
}

impl<'a> Seen<'a> {
    pub(super) fn add(&mut self, frame: &'a Frame, is_main: impl Fn(&Mapping) -> bool) {
        let named = !frame.lines.is_empty();
        self.names |= named;
        if let Some(mapping) = &frame.mapping {
            self.mapping = self.mapping.or(Some(mapping));
            if is_main(mapping) {
                self.main_frames = true;
                self.main_names |= named;
            }
        }
        for line in frame.lines.iter() {
            if let Some(name) = crate_of(&line.function) {
                self.rust = true;
                if self.foreign_crate.is_none() && !is_runtime(name) && !is_allocator(&line.function) {
                    self.foreign_crate = Some(name);
                }
            }
        }
    }

    pub(super) fn without_owner(self) -> Ownership<'a> {
        let stripped = self.main_frames && !self.main_names;
        if stripped || !self.names {
            return Ownership::NoSymbols;
        }
        let file_name = |mapping: &'a Mapping| mapping.path.rsplit('/').next();
        let crate_name = match (self.foreign_crate, self.rust) {
            (Some(name), _) => name,
            (None, true) => "std",
            (None, false) => self.mapping.and_then(file_name).unwrap_or("unknown"),
        };
        Ownership::Other { crate_name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::module_filter::ModuleFilter;
    use ModuleRef::{Configured, Crate};
    use std::sync::Arc;

    fn filter(names: &[&str]) -> ModuleFilter {
        ModuleFilter::new(names).unwrap()
    }

    fn mapping(path: &str) -> Arc<Mapping> {
        Arc::new(Mapping { path: path.into(), build_id: None, start: 0 })
    }

    fn frame(path: &str, functions: &[&str]) -> Frame {
        let line = |function: &&str| Line { function: (*function).into(), file: None, line: None };
        Frame { ip: 1, mapping: Some(mapping(path)), lines: functions.iter().map(line).collect() }
    }

    fn is_main(mapping: &Mapping) -> bool {
        mapping.path == "/bin/app"
    }

    #[test]
    fn the_innermost_line_owns_inlined_lines_included() {
        let frames = [
            frame("/bin/app", &["heaptally::alloc", "alloc::vec::Vec<T,A>::push"]),
            frame("/bin/app", &["bytes::grow", "app::inlined", "app::outer"]),
            frame("/bin/app", &["app::main"]),
        ];
        let owner = |names| match filter(names).owner(&frames, is_main) {
            Ownership::Module { module, line } => (module, line.function.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(owner(&["app"]), (Configured(0), "app::inlined".into()));
        assert_eq!(owner(&[]), (Crate("bytes"), "bytes::grow".into()));
    }

    #[test]
    fn a_stack_without_owner_is_charged_to_the_innermost_foreign_crate() {
        let frames = [
            frame("/bin/app", &["alloc::vec::Vec<T,A>::push"]),
            frame("/bin/app", &["bytes::grow", "tokio::read"]),
            frame("/bin/app", &["std::rt::lang_start::{{closure}}"]),
            frame("/bin/app", &["main"]),
        ];
        let crate_name = "bytes";
        assert_eq!(filter(&["app"]).owner(&frames, is_main), Ownership::Other { crate_name });
        let crate_name = "std";
        assert_eq!(filter(&["app"]).owner(&frames[2..], is_main), Ownership::Other { crate_name });
    }

    #[test]
    fn c_code_is_charged_to_its_file() {
        let frames = [frame("/usr/lib/libfoo.so.1", &["foo_callback"]), frame("/lib/libc.so.6", &["start_thread"])];
        let crate_name = "libfoo.so.1";
        assert_eq!(filter(&[]).owner(&frames, is_main), Ownership::Other { crate_name });
    }

    #[test]
    fn a_stripped_program_has_no_symbols_although_libc_has() {
        let frames = [frame("/bin/app", &[]), frame("/bin/app", &[]), frame("/lib/libc.so.6", &["__libc_start_main"])];
        assert_eq!(filter(&["app"]).owner(&frames, is_main), Ownership::NoSymbols);
        assert_eq!(filter(&[]).owner(&frames, is_main), Ownership::NoSymbols);
        assert_eq!(filter(&[]).owner(&frames[..1], is_main), Ownership::NoSymbols);
        assert_eq!(filter(&[]).owner([], is_main), Ownership::NoSymbols);
    }
}
