//! Why something that should be a snapshot cannot be read.

use std::error::Error;
use std::{fmt, io};

/// Why a snapshot cannot be read: the input cannot be had, is none, is of a later format, is cut off or damaged.
///
/// # Examples
///
/// ```
/// let error = heaptally_profile::export::json::read(&b"{\"format\": 99}"[..]).unwrap_err();
/// assert!(error.is_newer());
/// assert_eq!(error.to_string(), "format 99 is newer than format 1, the last one known here: read it with a newer heaptally");
/// ```
#[derive(Debug)]
pub struct ReadError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Io(io::Error),
    Foreign,
    Newer { format: u64, known: u64 },
    Truncated,
    Damaged(String),
}

impl ReadError {
    pub(super) fn io(error: io::Error) -> Self {
        Self { kind: Kind::Io(error) }
    }

    pub(super) fn foreign() -> Self {
        Self { kind: Kind::Foreign }
    }

    pub(super) fn newer(format: u64, known: u64) -> Self {
        Self { kind: Kind::Newer { format, known } }
    }

    pub(super) fn truncated() -> Self {
        Self { kind: Kind::Truncated }
    }

    /// `what` is wrong with it.
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self { kind: Kind::Damaged(what.into()) }
    }

    /// Whether the input itself could not be read; [`source`](Error::source) says why.
    pub fn is_io(&self) -> bool {
        matches!(self.kind, Kind::Io(_))
    }

    /// Whether the input is something else than a snapshot.
    pub fn is_foreign(&self) -> bool {
        matches!(self.kind, Kind::Foreign)
    }

    /// Whether a newer heaptally wrote it, in a format that this one does not know.
    pub fn is_newer(&self) -> bool {
        matches!(self.kind, Kind::Newer { .. })
    }

    /// Whether the input ends before the snapshot does.
    pub fn is_truncated(&self) -> bool {
        matches!(self.kind, Kind::Truncated)
    }

    /// Whether it was changed, or never was what heaptally writes.
    pub fn is_damaged(&self) -> bool {
        matches!(self.kind, Kind::Damaged(_))
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Io(error) => write!(f, "the snapshot cannot be read: {error}"),
            Kind::Foreign => f.write_str("this is no snapshot of heaptally"),
            Kind::Newer { format, known } => write!(
                f,
                "format {format} is newer than format {known}, the last one known here: read it with a newer heaptally"
            ),
            Kind::Truncated => f.write_str("the snapshot is cut off: look for a copy that is whole"),
            Kind::Damaged(what) => write!(f, "the snapshot is damaged: {what}"),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Io(error) => Some(error),
            _ => None,
        }
    }
}
