//! What holds of any function name and any module, however strange: told from the name's text, not by taking it apart.
//!
//! For tests and fuzzers only. The input is lines of text: modules, separated by commas, then functions. Demanglers print
//! whatever a program calls its functions, and programs are written by anybody.

use std::sync::Arc;

use heaptally_profile::{Frame, Line};

use super::function_path::{Role, homes, is_bare};
use super::module_filter::{FrameRole, Module, ModuleFilter, Ownership, crate_of, owner};
use crate::module_name::{is_identifier, normalize};

/// See the module's head.
///
/// # Panics
///
/// When something does not hold.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let modules: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let functions: Vec<&str> = lines.collect();
    modules.iter().for_each(|module| check_module(module));
    functions.iter().for_each(|function| check_paths(function));
    let everyone = filter(&[]).expect("no name is wrong");
    functions.iter().for_each(|function| check_crates(&everyone, function));
    let Some(named) = filter(&modules) else { return };
    for function in &functions {
        check_owner(&modules, &named, function);
        check_arguments(&named, function);
    }
    check_stack(&named, &functions);
}

fn filter(modules: &[&str]) -> Option<ModuleFilter> {
    ModuleFilter::new(modules).ok()
}

/// A module has one spelling, of identifiers alone.
fn check_module(module: &str) {
    let Ok(normalized) = normalize(module) else { return };
    assert_eq!(normalize(&normalized).as_ref(), Ok(&normalized), "{module:?}");
    assert!(normalized.split("::").all(is_identifier), "{module:?} is {normalized:?}");
}

/// Segments are parts of the name and have no arguments; what they lead to is inside of all but the last.
fn check_paths(function: &str) {
    for path in homes(function) {
        let segments: Vec<&str> = path.segments().collect();
        let Some((_, inner)) = segments.split_last() else { continue };
        for segment in &segments {
            assert!(!segment.is_empty() && function.contains(segment), "{segment:?} of {function:?}");
            assert!(segment.starts_with("<impl ") || !segment.contains('<'), "{segment:?} of {function:?}");
        }
        // Nothing is inside of a function; a method is inside of its type.
        assert_eq!(path.is_inside(segments.iter().copied()), path.role() != Role::Function, "{function:?}");
        assert!(path.is_inside(inner.iter().copied()), "{function:?}");
    }
    let _ = is_bare(function);
}

/// Crates stand in the name as words of their own.
fn check_crates(everyone: &ModuleFilter, function: &str) {
    let own = everyone.belongs(function);
    if let Some(name) = crate_of(function) {
        assert!(name == "core" || words(function, name).next().is_some(), "{name:?} of {function:?}");
        if let Some(own) = &own {
            assert_eq!(*own, Module::Crate(name.into()), "{function:?}");
        }
    } else {
        assert_eq!(own, None, "{function:?}");
    }
}

/// What belongs to a module has the module's segments, as words, one after the other; the first with no path before it.
/// Which module it is does not depend on their order.
fn check_owner(modules: &[&str], filter: &ModuleFilter, function: &str) {
    let name_of = |filter: &ModuleFilter| match filter.belongs(function)? {
        Module::Configured(index) => Some(Arc::clone(&filter.names()[index])),
        Module::Crate(name) => panic!("{name} was not configured"),
    };
    let found = name_of(filter);
    let reversed: Vec<&str> = modules.iter().rev().copied().collect();
    assert_eq!(name_of(&self::filter(&reversed).expect("the same names")), found, "{function:?}");
    let Some(module) = found else { return };
    let (first, others) = module.split_once("::").map_or((&*module, None), |(first, others)| (first, Some(others)));
    let begins = words(function, first).filter(|&at| !function[..at].ends_with("::"));
    let is_there = begins.map(|at| at + first.len()).any(|end| {
        let mut rest = &function[end..];
        others.into_iter().flat_map(|others| others.split("::")).all(|segment| {
            let Some(at) = words(rest, segment).find(|&at| rest[..at].trim_end().ends_with("::")) else { return false };
            rest = &rest[at + segment.len()..];
            true
        })
    });
    assert!(is_there, "{function:?} is not in {module:?}");
}

/// Generic arguments say who asked for an instance, not whose it is: with others, as either mangling writes them, a function
/// belongs to the same module.
fn check_arguments(filter: &ModuleFilter, function: &str) {
    // Arrows and character constants have brackets that are none.
    let is_odd = function.contains('\'') || function.contains("->") || function.contains(".>");
    if is_odd || function.ends_with(':') || depth_of(function) != Some(0) {
        return;
    }
    let belongs = filter.belongs(function);
    for module in filter.names() {
        let at_end = format!("{function}::<{module}::T>");
        assert_eq!(filter.belongs(&at_end), belongs, "{at_end:?}");
        if let Some((begin, end)) = function.split_once("::")
            && is_identifier(begin)
            // Of `for<'a> fn()`.
            && begin != "for"
        {
            let inside = format!("{begin}<{module}::T>::{end}");
            assert_eq!(filter.belongs(&inside), belongs, "{inside:?}");
        }
    }
}

/// A stack belongs to the first of its functions that belongs to anybody.
fn check_stack(filter: &ModuleFilter, functions: &[&str]) {
    let line = |function: &&str| Line { function: (*function).into(), file: None, line: None };
    let frame = |functions: &[&str]| Frame { ip: 1, mapping: None, lines: functions.iter().map(line).collect() };
    let first = functions.iter().find(|function| filter.belongs(function).is_some());
    for together in [1, functions.len().max(1)] {
        let frames = functions.chunks(together).map(frame);
        let roles: Vec<FrameRole> = frames.map(|frame| FrameRole::new(filter, &frame, |_| false)).collect();
        let owner = match owner(&roles) {
            Ownership::Module { line, .. } => Some(&*line.function),
            Ownership::Other { .. } | Ownership::NoSymbols => None,
        };
        assert_eq!(owner, first.copied());
    }
}

/// Where `word` stands in `text` with no letter, digit or underscore next to it.
fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> {
    let is_in_word = |c: Option<char>| c.is_some_and(|c| c == '_' || c.is_alphanumeric());
    let all = (0..text.len()).filter(move |&at| text.is_char_boundary(at) && text[at..].starts_with(word));
    all.filter(move |&at| {
        !is_in_word(text[..at].chars().next_back()) && !is_in_word(text[at + word.len()..].chars().next())
    })
}

/// How many brackets are open at the end of a text; `None` if one is closed that was not open.
fn depth_of(text: &str) -> Option<usize> {
    text.chars().try_fold(0_usize, |depth, c| match c {
        '<' | '(' | '[' | '{' => Some(depth + 1),
        '>' | ')' | ']' | '}' => depth.checked_sub(1),
        _ => Some(depth),
    })
}

#[cfg(test)]
#[path = "../../../../tests/fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_of_the_fuzzer_has_no_name_that_is_read_wrongly() {
        replay::replay("names", 100, check);
    }
}
