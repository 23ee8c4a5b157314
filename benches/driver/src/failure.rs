//! How a command ends that does not succeed: one line for the user, and the status that scripts see.

use std::process::ExitCode;

#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// What was asked for cannot be: the command line, or a file that it names. Nothing was measured.
    Refused(String),
    /// Something failed or is above its limit. All else was printed.
    Found(String),
}

impl Failure {
    /// Prints the line.
    pub(crate) fn tell(&self) -> ExitCode {
        let (Self::Refused(line) | Self::Found(line)) = self;
        eprintln!("error: {line}");
        match self {
            Self::Refused(_) => ExitCode::from(2),
            Self::Found(_) => ExitCode::FAILURE,
        }
    }
}

impl From<String> for Failure {
    fn from(line: String) -> Self {
        Self::Found(line)
    }
}
