//! What the instruction counts should be: a committed file, and how the counts differ from it.
//!
//! Counts are the same on every run of the same code from the same compiler over the same C library; of others they say
//! nothing. So they are compared only where all three are those of the file.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::machine;

/// In percent of the expected number, and at least one instruction, by which rounding may be off.
const TOLERANCE_PERCENT: u64 = 2;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Expected {
    pub(crate) made_by: Toolchain,
    pub(crate) counts: Vec<Count>,
}

/// What counts depend on, beside the code.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Toolchain {
    pub(crate) rustc: String,
    pub(crate) libc: String,
    /// Of the processor.
    pub(crate) architecture: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Count {
    pub(crate) workload: String,
    pub(crate) subject: String,
    /// Instructions a pair; System's count is subtracted.
    pub(crate) above_system: u64,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// So many counts are as expected.
    Same(usize),
    /// With the reason.
    NotCompared(String),
    /// A line each.
    Different(Vec<String>),
}

impl Toolchain {
    pub(crate) fn here() -> Self {
        let architecture = std::env::consts::ARCH.to_owned();
        Self { rustc: machine::rustc(), libc: machine::libc(), architecture }
    }
}

impl Expected {
    pub(crate) fn path(layout: &Layout) -> PathBuf {
        layout.root.join("benches/instructions.json")
    }

    /// # Errors
    ///
    /// One line, if it cannot be read or is not what [`Self::write`] writes.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}; --update writes it", path.display());
        let text = fs::read_to_string(path).map_err(|error| told(&error))?;
        serde_json::from_str(&text).map_err(|error| told(&error))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        // Strings, numbers and lists: nothing that could not be written.
        let text = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Of the counts, those that were counted here.
    pub(crate) fn judge(&self, here: &Toolchain, counts: &[Count]) -> Verdict {
        for (what, theirs, ours) in [
            ("compiler", &self.made_by.rustc, &here.rustc),
            ("C library", &self.made_by.libc, &here.libc),
            ("architecture", &self.made_by.architecture, &here.architecture),
        ] {
            if theirs != ours {
                return Verdict::NotCompared(format!("the {what} is {ours}, the expected counts are of {theirs}"));
            }
        }
        let different: Vec<String> = counts.iter().filter_map(|count| self.difference(count)).collect();
        if different.is_empty() { Verdict::Same(counts.len()) } else { Verdict::Different(different) }
    }

    fn difference(&self, count: &Count) -> Option<String> {
        let Count { workload, subject, above_system } = count;
        let mut same = self.counts.iter().filter(|own| (&own.workload, &own.subject) == (workload, subject));
        match same.next().map(|own| own.above_system) {
            Some(expected) if above_system.abs_diff(expected) <= (expected * TOLERANCE_PERCENT / 100).max(1) => None,
            Some(expected) => {
                Some(format!("{subject} on {workload} is {above_system} above system, expected {expected}"))
            }
            None => Some(format!("{subject} on {workload} is {above_system} above system, expected is nothing")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(rustc: &str) -> Toolchain {
        let [rustc, libc, architecture] = [rustc, "glibc 1", "x86_64"].map(str::to_owned);
        Toolchain { rustc, libc, architecture }
    }

    fn count(above_system: u64) -> Count {
        Count { workload: "pairs33".to_owned(), subject: "heaptally".to_owned(), above_system }
    }

    fn judged(expected: u64, counted: u64) -> Verdict {
        let expected = Expected { made_by: toolchain("rustc 1"), counts: vec![count(expected)] };
        expected.judge(&toolchain("rustc 1"), &[count(counted)])
    }

    #[test]
    fn two_percent_are_the_same_in_either_direction() {
        assert_eq!([294, 300, 306].map(|counted| judged(300, counted)), [const { Verdict::Same(1) }; 3]);
        for counted in [293, 307] {
            let line = format!("heaptally on pairs33 is {counted} above system, expected 300");
            assert_eq!(judged(300, counted), Verdict::Different(vec![line]));
        }
    }

    #[test]
    fn of_a_few_instructions_one_may_be_rounding() {
        assert_eq!([29, 30, 31].map(|counted| judged(30, counted)), [const { Verdict::Same(1) }; 3]);
        assert!(matches!(judged(30, 32), Verdict::Different(_)));
    }

    #[test]
    fn of_another_compiler_nothing_is_compared() {
        let expected = Expected { made_by: toolchain("rustc 1"), counts: vec![count(300)] };
        let why = "the compiler is rustc 2, the expected counts are of rustc 1".to_owned();
        assert_eq!(expected.judge(&toolchain("rustc 2"), &[count(9)]), Verdict::NotCompared(why));
    }

    #[test]
    fn the_committed_file_has_each_count_once() {
        let expected = Expected::read(&Expected::path(&Layout::find().unwrap())).unwrap();
        let names: Vec<_> = expected.counts.iter().map(|own| (own.workload.as_str(), own.subject.as_str())).collect();
        let (off, on) = ("heaptally before start", "heaptally");
        assert_eq!(names, [("pairs33", off), ("pairs33", on), ("pairs73", off), ("pairs73", on)]);
    }

    #[test]
    fn a_file_that_is_missing_says_what_to_do() {
        let error = Expected::read(Path::new("/no/such.json")).unwrap_err();
        assert!(error.starts_with("/no/such.json: No such file") && error.ends_with("; --update writes it"), "{error}");
    }
}
