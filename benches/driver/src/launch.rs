//! A subject's program, ready to be run once: alone or under a tool, and with a folder for what the tool writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, process};

use crate::catalog::SUBJECTS;
use crate::process::{Ending, output_within};
use crate::subject::{Subject, Tool};

/// Less than this is no recording.
const LEAST_RECORDED_BYTES: u64 = 100;

pub(crate) struct Launch {
    command: Command,
    /// Of a tool that writes files; removed with this.
    folder: Option<Folder>,
}

impl Launch {
    /// # Errors
    ///
    /// If there is no folder for temporary files.
    pub(crate) fn of(subject: &Subject, program: &Path) -> Result<Self, String> {
        let (mut command, folder) = match subject.tool {
            Tool::None => (Command::new(program), None),
            Tool::Heaptrack => {
                let folder = Folder::create()?;
                let mut command = Command::new("heaptrack");
                // Without interpreting what it wrote, and so without showing it to anybody.
                command.arg("--raw").arg("--output").arg(folder.0.join("recording")).arg(program);
                (command, Some(folder))
            }
        };
        // What the user has set for one of them would make another subject of it.
        SUBJECTS.iter().flat_map(|other| other.environment).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.envs(subject.environment.iter().copied());
        Ok(Self { command, folder })
    }

    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Runs it and gives what it printed, or nothing if it took longer than the limit.
    ///
    /// # Errors
    ///
    /// One line: why it failed; or that its tool has recorded nothing.
    pub(crate) fn output(mut self, limit: Duration) -> Result<Option<String>, String> {
        match (output_within(&mut self.command, limit)?, &self.folder) {
            (Ending::Itself(_), Some(folder)) if folder.bytes() < LEAST_RECORDED_BYTES => {
                Err("recorded nothing".to_owned())
            }
            (Ending::Itself(output), _) => Ok(Some(output)),
            (Ending::AtLimit { process_id }, Some(_)) => {
                // heaptrack's script does not remove its pipe then. It may not have made it yet.
                let _ = fs::remove_file(format!("/tmp/heaptrack_fifo{process_id}"));
                Ok(None)
            }
            (Ending::AtLimit { .. }, None) => Ok(None),
        }
    }
}

struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self, String> {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        // Relaxed: it only has to be another number each time.
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("heaptally-bench-{}-{number}", process::id()));
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }

    fn bytes(&self) -> u64 {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, as all in its folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
