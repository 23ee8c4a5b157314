//! JSON: everything in a snapshot, for scripts, and for reading it back.
//!
//! Called by programs, on any thread; allocates. The text has tables of what is shared, and indexes into them; its
//! schema is in docs/exports.md.

mod decode;
mod encode;
mod model;
mod numbers;

use std::io::{self, BufWriter, Read, Write};

use self::model::{FORMAT, Head, SnapshotModel};
use crate::export::ReadError;
use crate::snapshot::Snapshot;

/// Writes a snapshot as one JSON object, without spaces and in UTF-8. The same snapshot gives the same text.
///
/// # Errors
///
/// Those of `out`.
///
/// # Examples
///
/// ```
/// use heaptally_profile::export::json;
/// # use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
/// # let counts = Counts { allocated_blocks: 3, allocated_bytes: 300, ..Counts::ZERO };
/// # let sites = vec![Site::pseudo(SiteKind::BeforeStart, counts)];
/// # let snapshot = Snapshot::from_parts(SnapshotParts { totals: counts.into(), sites, ..SnapshotParts::default() });
///
/// let mut text = Vec::new();
/// json::write(&snapshot, &mut text)?;
/// assert!(text.starts_with(b"{\"format\":1,"));
/// let again = json::read(&text[..])?;
/// assert_eq!(again.totals(), snapshot.totals());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write(snapshot: &Snapshot, out: impl Write) -> io::Result<()> {
    // Every key and every number is a piece of its own.
    let mut out = BufWriter::new(out);
    serde_json::to_writer(&mut out, &encode::model(snapshot))?;
    out.flush()
}

/// Reads a snapshot that [`write`](fn@write) has written: it says what the one that was written said.
///
/// The text may come from anywhere. It is read to its end and takes a small multiple of its length in memory. Keys that
/// are not known are ignored.
///
/// # Errors
///
/// When `input` cannot be read, or holds something else than a snapshot in a format that this heaptally knows.
pub fn read(mut input: impl Read) -> Result<Snapshot, ReadError> {
    let mut text = Vec::new();
    input.read_to_end(&mut text).map_err(ReadError::io)?;
    from_slice(&text)
}

pub(super) fn from_slice(text: &[u8]) -> Result<Snapshot, ReadError> {
    // By itself, since a later format may have nothing else that this one knows.
    let Head { format } = serde_json::from_slice(text)
        .map_err(|error| if error.is_data() { ReadError::foreign() } else { damage(error) })?;
    match format {
        FORMAT => {}
        0 => return Err(ReadError::damaged("there is no format 0")),
        _ => return Err(ReadError::newer(format, FORMAT)),
    }
    let model: SnapshotModel<'_> = serde_json::from_slice(text).map_err(damage)?;
    decode::snapshot(model)
}

fn damage(error: serde_json::Error) -> ReadError {
    if error.is_eof() { ReadError::truncated() } else { ReadError::damaged(error.to_string()) }
}

#[cfg(test)]
mod tests;
