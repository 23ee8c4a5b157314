//! What is compared: how a subject is found, built and told apart. Which there are is in catalog.rs.
//!
//! A package `subject-NAME` in benches/subjects/NAME has one global allocator; a subject is a package, how it is built, and
//! what its program is told. One named `heaptally_X` is heaptally over the allocator of the one named `X`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::catalog::{BROKEN, SUBJECTS};
use crate::layout::Layout;
use crate::process;
use crate::record::Role;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Subject {
    /// Of the row.
    pub(crate) name: &'static str,
    /// The folder of the package.
    pub(crate) package: &'static str,
    /// The dependency that is compared, whose version is told; empty where it is ours or the tool.
    pub(crate) peer: &'static str,
    pub(crate) build: Build,
    pub(crate) tool: Tool,
    /// For the program, after what the workload says.
    pub(crate) words: &'static [&'static str],
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// A line: exact or sampled, live or cumulative, stacks by what means.
    pub(crate) keeps: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Build {
    /// The release profile as a user's program has it.
    Default,
    /// That, with frame pointers in all that cargo builds; std has them anyway.
    FramePointers,
}

/// What the program runs under.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tool {
    None,
    Heaptrack,
}

/// Why there is no program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NoProgram {
    DidNotBuild(String),
    /// With what to do.
    NotInstalled(&'static str),
}

/// An allocator, and heaptally over it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) alone: Subject,
    pub(crate) tracked: Subject,
}

/// All that are measured unless others are named, in the order of the report.
pub(crate) fn all() -> Vec<Subject> {
    SUBJECTS.into_iter().filter(|subject| *subject != BROKEN).collect()
}

pub(crate) fn find(name: &str) -> Result<Subject, String> {
    SUBJECTS.into_iter().find(|subject| subject.name == name).ok_or_else(|| {
        let names: Vec<_> = all().iter().map(|subject| subject.name).collect();
        format!("unknown subject {name}; there are {}", names.join(", "))
    })
}

/// Of those subjects, in their order, what is there both alone and with heaptally.
pub(crate) fn pairs(subjects: &[Subject]) -> Vec<Pair> {
    let pair = |alone: &Subject| {
        let name = if alone.is_system() { "heaptally".to_owned() } else { format!("heaptally_{}", alone.name) };
        let tracked = subjects.iter().find(|subject| subject.name == name)?;
        Some(Pair { alone: *alone, tracked: *tracked })
    };
    subjects.iter().filter_map(pair).collect()
}

impl Subject {
    /// One that is not in the catalog.
    #[cfg(test)]
    pub(crate) fn named(name: &'static str) -> Self {
        Self { name, ..Self::system() }
    }

    pub(crate) fn system() -> Self {
        find("system").expect("in the catalog")
    }

    pub(crate) fn heaptally() -> Self {
        find("heaptally").expect("in the catalog")
    }

    pub(crate) fn is_system(&self) -> bool {
        self.name == "system"
    }

    pub(crate) fn role(&self) -> Role {
        if self.name.starts_with("heaptally") {
            Role::Heaptally
        } else if self.keeps.starts_with("nothing") {
            Role::Allocator
        } else {
            Role::Tracker
        }
    }

    fn folder(&self, layout: &Layout) -> PathBuf {
        let packages = if *self == BROKEN { "benches/driver/tests" } else { "benches/subjects" };
        layout.root.join(packages).join(self.package)
    }

    /// Builds the subject, and gives the program.
    ///
    /// # Errors
    ///
    /// If it does not build, or if the tool is not there that it runs under.
    pub(crate) fn build(&self, layout: &Layout) -> Result<PathBuf, NoProgram> {
        if self.tool == Tool::Heaptrack && heaptrack().is_none() {
            return Err(NoProgram::NotInstalled("not installed: apt-get install heaptrack"));
        }
        eprintln!("building {}", self.name);
        let mut cargo = layout.cargo();
        cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(self.folder(layout).join("Cargo.toml"));
        // One for all with the same flags, so that what they share is built once.
        let target = match self.build {
            Build::Default => layout.target.clone(),
            Build::FramePointers => {
                cargo.env("RUSTFLAGS", "-C force-frame-pointers=yes");
                layout.target.join("frame-pointers")
            }
        };
        cargo.arg("--target-dir").arg(&target);
        process::output(&mut cargo).map_err(NoProgram::DidNotBuild)?;
        Ok(target.join("release").join(format!("subject-{}", self.package)))
    }

    /// The peer with its version, for the report; empty where there is none.
    pub(crate) fn version(&self, layout: &Layout) -> String {
        if self.tool == Tool::Heaptrack {
            return heaptrack().unwrap_or_default();
        }
        let lock = fs::read_to_string(self.folder(layout).join("Cargo.lock")).unwrap_or_default();
        version_in(&lock, self.peer).map_or_else(String::new, |version| format!("{} {version}", self.peer))
    }
}

impl NoProgram {
    pub(crate) fn why(&self) -> String {
        match self {
            Self::DidNotBuild(error) => format!("did not build: {error}"),
            Self::NotInstalled(what) => (*what).to_owned(),
        }
    }
}

/// `heaptrack 1.4.0`, if it is installed.
fn heaptrack() -> Option<String> {
    let version = process::output(Command::new("heaptrack").arg("--version")).ok()?;
    version.lines().next().map(str::to_owned)
}

/// Of a package in a lock file.
fn version_in<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let version = lock.lines().skip_while(|line| *line != name).nth(1)?;
    version.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_has_every_package_and_each_name_once() {
        let layout = Layout::find().unwrap();
        let mut folders: Vec<_> = fs::read_dir(layout.root.join("benches/subjects"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut packages: Vec<_> = all().iter().map(|subject| subject.package.to_owned()).collect();
        folders.sort();
        packages.sort();
        packages.dedup();
        assert_eq!(folders, packages);
        for subject in all() {
            assert_eq!(find(subject.name), Ok(subject));
            assert!(!subject.keeps.is_empty(), "{}", subject.name);
        }
    }

    #[test]
    fn every_peer_has_a_version_in_its_lock_file() {
        let layout = Layout::find().unwrap();
        for subject in all().iter().filter(|subject| !subject.peer.is_empty()) {
            assert!(subject.version(&layout).starts_with(subject.peer), "{}", subject.name);
        }
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.2\"\n\n[[package]]\nname = \"b\"\nversion = \"3.4\"\n";
        assert_eq!(version_in(lock, "b"), Some("3.4"));
        assert_eq!(version_in(lock, "c"), None);
    }

    #[test]
    fn every_subject_has_the_same_workloads() {
        let layout = Layout::find().unwrap();
        let lock_in = |folder: PathBuf| fs::read_to_string(folder.join("Cargo.lock")).unwrap();
        let workloads = lock_in(layout.root.join("benches/workloads"));
        for subject in all() {
            let lock = lock_in(subject.folder(&layout));
            for package in ["rayon", "rtrb", "serde_json", "syn", "proc-macro2", "memchr", "mio", "tokio"] {
                let versions = [&workloads, &lock].map(|lock| version_in(lock, package));
                assert!(
                    versions[0].is_some() && versions[0] == versions[1],
                    "{package} of {}: {versions:?}",
                    subject.name
                );
            }
        }
    }

    #[test]
    fn allocators_are_those_that_keep_nothing() {
        let of = |role| {
            all().iter().filter(|subject| subject.role() == role).map(|subject| subject.name).collect::<Vec<_>>()
        };
        assert_eq!(of(Role::Allocator), ["system", "jemalloc", "mimalloc", "jemalloc_prof-off"]);
        let ours = ["heaptally-off", "heaptally-paused", "heaptally", "heaptally_jemalloc", "heaptally_mimalloc"];
        assert_eq!(of(Role::Heaptally), ours);
    }

    #[test]
    fn the_broken_one_is_measured_only_if_it_is_named() {
        assert!(!all().contains(&BROKEN));
        assert_eq!(find("broken"), Ok(BROKEN));
    }

    #[test]
    fn pairs_are_made_by_name() {
        let subjects = ["system", "heaptally", "x", "heaptally_y", "y", "heaptally_z"].map(Subject::named);
        let pair = |alone, tracked| Pair { alone: Subject::named(alone), tracked: Subject::named(tracked) };
        assert_eq!(pairs(&subjects), [pair("system", "heaptally"), pair("y", "heaptally_y")]);
    }
}
