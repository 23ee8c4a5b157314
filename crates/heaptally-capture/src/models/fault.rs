//! A fault in one operation of the crate's code: what a model must find, to be worth anything.
//!
//! Found by the text of the source, so that it is planted into the very line, and nothing of it is in what is shipped.

extern crate std;

use core::fmt;
use core::panic::Location;

/// What the operation does instead.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instead {
    /// The same, Relaxed. Of a fence: nothing.
    Relaxed,
    /// Nothing, of a store.
    Nothing,
    /// A load, and then a store, of a read-modify-write.
    Torn,
    /// The same, storing another number.
    Storing(fn(u64) -> u64),
}

/// See the module's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    file: &'static str,
    line: u32,
    column: u32,
    instead: Instead,
}

impl Fault {
    /// In the first operation `call` after the first `place` in the source of a file. A call is written as far as its name:
    /// `word.store`, `.swap`, `fence`.
    pub(super) fn new(file: &'static str, source: &str, place: &str, call: &str, instead: Instead) -> Self {
        let from = source.find(place).unwrap_or_else(|| panic!("{file} has no {place}"));
        let at = from + source[from..].find(call).unwrap_or_else(|| panic!("{file} has no {call} after {place}"));
        let name = at + call.rfind('.').map_or(0, |dot| dot + 1);
        let line_begins = source[..name].rfind('\n').map_or(0, |end| end + 1);
        let line = source[..name].matches('\n').count() as u32 + 1;
        let column = source[line_begins..name].chars().count() as u32 + 1;
        Self { file, line, column, instead }
    }

    /// What the operation at this place of the source does instead, if it is the one.
    pub(super) fn at(&self, caller: &Location<'_>) -> Option<Instead> {
        let is_it = caller.line() == self.line && caller.column() == self.column && is_file(caller, self.file);
        is_it.then_some(self.instead)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, instead } = self;
        let what = match instead {
            Instead::Relaxed => "Relaxed",
            Instead::Nothing => "left out",
            Instead::Torn => "torn",
            Instead::Storing(_) => "storing another number",
        };
        write!(f, "{file}:{line}:{column} {what}")
    }
}

/// Whether a caller is in the file of this name of the crate.
pub(super) fn is_file(caller: &Location<'_>, file: &str) -> bool {
    caller.file().strip_suffix(file).is_some_and(|rest| rest.ends_with("src/"))
}

/// A [`Fault`]: the file, from `src` on, a text, an operation after it, and what it does instead.
macro_rules! fault {
    ($file:literal, $place:literal, $call:literal, $instead:expr) => {
        $crate::models::fault::Fault::new($file, include_str!(concat!("../", $file)), $place, $call, $instead)
    };
}
pub(super) use fault;
