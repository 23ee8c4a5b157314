//! What a stack is charged to, and what is said of one that no module of the user owns.
//!
//! Pure functions of frames; called by the module filter on the aggregator thread. What a frame has to say is found once,
//! by parsing names; putting it together for a stack compares and copies references.

use std::sync::Arc;

use heaptally_profile::{Frame, Line, Mapping};

use super::{ModuleFilter, crate_of, is_allocator, is_runtime};

/// The module that a function belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    /// An index into [`ModuleFilter::names`].
    Configured(usize),
    /// No module is configured: the crate of the function.
    Crate(Arc<str>),
}

/// What a frame contributes to the question whose a stack is.
#[derive(Clone, Debug)]
pub(crate) struct FrameRole {
    /// The innermost line that belongs to one of the user's modules, and which.
    owner: Option<(Module, Line)>,
    /// The innermost crate that is not the standard library.
    foreign_crate: Option<Arc<str>>,
    /// Some function with a Rust path.
    rust: bool,
    /// A function with a name.
    named: bool,
    /// The frame is of the program's own executable.
    main: bool,
    mapping: Option<Arc<Mapping>>,
}

/// What a stack is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership<'a> {
    /// The innermost line that belongs to one of the user's modules.
    Module { module: &'a Module, line: &'a Line },
    /// No line belongs: the innermost crate outside the standard library, `std` where there is
    /// none, or the file name of the mapping where there is only C code.
    Other { crate_name: &'a str },
    /// The program's own frames have no names.
    NoSymbols,
}

impl FrameRole {
    /// Of a frame, under a filter; `is_main` tells the mapping of the program's own executable.
    pub(crate) fn new(filter: &ModuleFilter, frame: &Frame, is_main: impl Fn(&Mapping) -> bool) -> Self {
        let owner = frame.lines.iter().find_map(|line| {
            let module = filter.belongs(&line.function)?;
            Some((module, line.clone()))
        });
        let crates = || frame.lines.iter().filter_map(|line| Some((line, crate_of(&line.function)?)));
        let foreign = |(line, name): &(&Line, &str)| !is_runtime(name) && !is_allocator(&line.function);
        Self {
            owner,
            foreign_crate: crates().find(foreign).map(|(_, name)| name.into()),
            rust: crates().next().is_some(),
            named: !frame.lines.is_empty(),
            main: frame.mapping.as_deref().is_some_and(is_main),
            mapping: frame.mapping.clone(),
        }
    }
}

/// What a stack is charged to. Takes its frames leaf first.
pub(crate) fn owner<'a>(leaf_first: impl IntoIterator<Item = &'a FrameRole>) -> Ownership<'a> {
    let mut foreign_crate = None;
    let mut mapping = None;
    let (mut rust, mut main_frames, mut main_names, mut names) = (false, false, false, false);
    for frame in leaf_first {
        if let Some((module, line)) = &frame.owner {
            return Ownership::Module { module, line };
        }
        foreign_crate = foreign_crate.or(frame.foreign_crate.as_deref());
        mapping = mapping.or(frame.mapping.as_deref());
        rust |= frame.rust;
        main_frames |= frame.main;
        main_names |= frame.main && frame.named;
        names |= frame.named;
    }
    let stripped = main_frames && !main_names;
    if stripped || !names {
        return Ownership::NoSymbols;
    }
    let file_name = |mapping: &'a Mapping| mapping.path.rsplit('/').next();
    let crate_name = match (foreign_crate, rust) {
        (Some(name), _) => name,
        (None, true) => "std",
        (None, false) => mapping.and_then(file_name).unwrap_or("unknown"),
    };
    Ownership::Other { crate_name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::module_filter::ModuleFilter;

    fn filter(names: &[&str]) -> ModuleFilter {
        ModuleFilter::new(names).unwrap()
    }

    fn mapping(path: &str) -> Arc<Mapping> {
        Arc::new(Mapping { path: path.into(), build_id: None, start: 0, segments: Vec::new() })
    }

    fn frame(path: &str, functions: &[&str]) -> Frame {
        let line = |function: &&str| Line { function: (*function).into(), file: None, line: None };
        Frame { ip: 1, mapping: Some(mapping(path)), lines: functions.iter().map(line).collect() }
    }

    fn roles(names: &[&str], frames: &[Frame]) -> Vec<FrameRole> {
        let filter = filter(names);
        frames.iter().map(|frame| FrameRole::new(&filter, frame, is_main)).collect()
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
        let owner = |names| match owner(&roles(names, &frames)) {
            Ownership::Module { module, line } => (module.clone(), line.function.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(owner(&["app"]), (Module::Configured(0), "app::inlined".into()));
        assert_eq!(owner(&[]), (Module::Crate("bytes".into()), "bytes::grow".into()));
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
        assert_eq!(owner(&roles(&["app"], &frames)), Ownership::Other { crate_name });
        let crate_name = "std";
        assert_eq!(owner(&roles(&["app"], &frames[2..])), Ownership::Other { crate_name });
    }

    #[test]
    fn c_code_is_charged_to_its_file() {
        let frames = [frame("/usr/lib/libfoo.so.1", &["foo_callback"]), frame("/lib/libc.so.6", &["start_thread"])];
        let crate_name = "libfoo.so.1";
        assert_eq!(owner(&roles(&[], &frames)), Ownership::Other { crate_name });
    }

    #[test]
    fn a_stripped_program_has_no_symbols_although_libc_has() {
        let frames = [frame("/bin/app", &[]), frame("/bin/app", &[]), frame("/lib/libc.so.6", &["__libc_start_main"])];
        assert_eq!(owner(&roles(&["app"], &frames)), Ownership::NoSymbols);
        assert_eq!(owner(&roles(&[], &frames)), Ownership::NoSymbols);
        assert_eq!(owner(&roles(&[], &frames[..1])), Ownership::NoSymbols);
        assert_eq!(owner([]), Ownership::NoSymbols);
    }
}
