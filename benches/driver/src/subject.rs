//! What is compared: packages `subject-NAME` in benches/subjects/NAME, each with one global allocator.

use std::path::PathBuf;

use crate::layout::Layout;
use crate::process;

#[derive(Debug, PartialEq)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
}

/// What the others are compared with.
pub(crate) const SYSTEM: Subject = Subject { name: "system" };
pub(crate) const HEAPTALLY: Subject = Subject { name: "heaptally" };

pub(crate) const SUBJECTS: [Subject; 2] = [SYSTEM, HEAPTALLY];

pub(crate) fn find(name: &str) -> Result<&'static Subject, String> {
    SUBJECTS.iter().find(|subject| subject.name == name).ok_or_else(|| {
        let names = SUBJECTS.map(|subject| subject.name).join(", ");
        format!("unknown subject {name}; there are {names}")
    })
}

impl Subject {
    /// Builds the subject in the release profile as a user's program has it, and gives the program.
    ///
    /// # Errors
    ///
    /// `did not build: ` and the first line that is an error.
    pub(crate) fn build(&self, layout: &Layout) -> Result<PathBuf, String> {
        eprintln!("building {}", self.name);
        let manifest = layout.root.join("benches/subjects").join(self.name).join("Cargo.toml");
        let mut cargo = layout.cargo();
        cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(manifest);
        // One for all, so that what they share is built once.
        cargo.arg("--target-dir").arg(&layout.target);
        process::output(&mut cargo).map_err(|error| format!("did not build: {error}"))?;
        Ok(layout.target.join("release").join(format!("subject-{}", self.name)))
    }
}
