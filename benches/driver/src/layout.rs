//! Where things are: the repository that the driver was built from, and the folder for what it builds.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct Layout {
    /// The root of the workspace.
    pub(crate) root: PathBuf,
    /// `target/bench`: the subjects and their inputs.
    pub(crate) target: PathBuf,
}

impl Layout {
    pub(crate) fn find() -> Result<Self, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = here.canonicalize().map_err(|error| format!("{}: {error}", here.display()))?;
        // A relative one is meant from where cargo was called.
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => env::current_dir().map_err(|error| error.to_string())?.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root, target: target.join("bench") })
    }

    /// Cargo at the root, without what would change the release profile or the flags of the subjects.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.current_dir(&self.root).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PROFILE_") {
                cargo.env_remove(name);
            }
        }
        cargo
    }
}
