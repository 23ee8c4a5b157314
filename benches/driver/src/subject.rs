//! What is compared: packages `subject-NAME` in benches/subjects/NAME, each with one global allocator.
//!
//! Which there are is found out by looking: all that is known of a subject is its name. One named `heaptally_X` is
//! heaptally over the allocator of the one named `X`.

use std::fs;
use std::path::PathBuf;

use crate::layout::Layout;
use crate::process;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subject {
    pub(crate) name: String,
}

/// An allocator, and heaptally over it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) alone: Subject,
    pub(crate) tracked: Subject,
}

/// What the others are compared with, and what is compared where nothing else is said.
const DEFAULT: [&str; 2] = ["system", "heaptally"];

/// The names of benches/subjects, those of [`defaults`] first.
///
/// # Errors
///
/// If the folder cannot be read.
pub(crate) fn all(layout: &Layout) -> Result<Vec<Subject>, String> {
    let folder = layout.root.join("benches/subjects");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let packages = entries.flatten().filter(|entry| entry.path().join("Cargo.toml").exists());
    let mut subjects: Vec<_> = packages.map(|entry| Subject::named(&entry.file_name().to_string_lossy())).collect();
    subjects.sort_by_key(|subject| {
        (DEFAULT.iter().position(|name| subject.name == *name).unwrap_or(2), subject.name.clone())
    });
    Ok(subjects)
}

pub(crate) fn defaults() -> Vec<Subject> {
    DEFAULT.map(Subject::named).into()
}

pub(crate) fn find(name: &str, subjects: &[Subject]) -> Result<Subject, String> {
    subjects.iter().find(|subject| subject.name == name).cloned().ok_or_else(|| {
        let names: Vec<_> = subjects.iter().map(|subject| subject.name.as_str()).collect();
        format!("unknown subject {name}; there are {}", names.join(", "))
    })
}

/// Of those subjects, in their order, what is there both alone and with heaptally.
pub(crate) fn pairs(subjects: &[Subject]) -> Vec<Pair> {
    let pair = |alone: &Subject| {
        let name = if alone.is_system() { "heaptally".to_owned() } else { format!("heaptally_{}", alone.name) };
        let tracked = subjects.iter().find(|subject| subject.name == name)?;
        Some(Pair { alone: alone.clone(), tracked: tracked.clone() })
    };
    subjects.iter().filter_map(pair).collect()
}

impl Subject {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    pub(crate) fn system() -> Self {
        Self::named(DEFAULT[0])
    }

    pub(crate) fn heaptally() -> Self {
        Self::named(DEFAULT[1])
    }

    pub(crate) fn is_system(&self) -> bool {
        self.name == DEFAULT[0]
    }

    /// Builds the subject in the release profile as a user's program has it, and gives the program.
    ///
    /// # Errors
    ///
    /// `did not build: ` and the first line that is an error.
    pub(crate) fn build(&self, layout: &Layout) -> Result<PathBuf, String> {
        eprintln!("building {}", self.name);
        let manifest = layout.root.join("benches/subjects").join(&self.name).join("Cargo.toml");
        let mut cargo = layout.cargo();
        cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(manifest);
        // One for all, so that what they share is built once.
        cargo.arg("--target-dir").arg(&layout.target);
        process::output(&mut cargo).map_err(|error| format!("did not build: {error}"))?;
        Ok(layout.target.join("release").join(format!("subject-{}", self.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_found_by_their_folders() {
        let subjects = all(&Layout::find().unwrap()).unwrap();
        assert_eq!(subjects[..2], defaults());
        assert!(find("jemalloc", &subjects).is_ok());
    }

    #[test]
    fn pairs_are_made_by_name() {
        let subjects = ["system", "heaptally", "x", "heaptally_y", "y", "heaptally_z"].map(Subject::named);
        let named = |alone, tracked| Pair { alone: Subject::named(alone), tracked: Subject::named(tracked) };
        assert_eq!(pairs(&subjects), [named("system", "heaptally"), named("y", "heaptally_y")]);
    }
}
