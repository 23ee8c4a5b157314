//! Snapshot files: everything in a snapshot, to be read back, compared and exported later, or on another machine.
//!
//! Called by programs, on any thread; allocates. A file is a head of twelve bytes and the [JSON](crate::export::json) of
//! the snapshot in gzip, whose checksum covers it. Its name ends with `.heaptally`.
//!
//! ```text
//! 0          10         12
//! heaptally\0 version ── gzip member ───────────────────────────
//!             u16, LE    { "format": 1, … }   CRC-32, length
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use crate::export::{ReadError, json};
use crate::snapshot::Snapshot;

/// What every file begins with.
const MAGIC: [u8; 10] = *b"heaptally\0";

/// The version that is written, and the last one that can be read.
const VERSION: u16 = 1;

/// The most bytes of JSON that a byte of a file may stand for, and what may be there beyond that. Snapshots have less than a
/// third of it, also those made to be compressed well.
const MOST_BYTES_PER_BYTE: u64 = 128;
const FREE_BYTES: u64 = 1 << 20;

/// Writes a snapshot as a file.
///
/// Addresses, loaded files and their build ids are in it, so that names can be looked up where the symbols are.
///
/// # Errors
///
/// Those of `out`.
///
/// # Examples
///
/// ```
/// use heaptally_profile::export::file;
/// # use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
/// # let counts = Counts { allocated_blocks: 3, allocated_bytes: 300, ..Counts::ZERO };
/// # let sites = vec![Site::pseudo(SiteKind::BeforeStart, counts)];
/// # let snapshot = Snapshot::from_parts(SnapshotParts { totals: counts.into(), sites, ..SnapshotParts::default() });
///
/// let mut bytes = Vec::new(); // or a `File`
/// file::write(&snapshot, &mut bytes)?;
/// let again = file::read(&bytes[..])?;
/// assert!(again.since(&snapshot).rows().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write(snapshot: &Snapshot, mut out: impl Write) -> io::Result<()> {
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    let mut gzip = GzEncoder::new(out, Compression::fast());
    json::write(snapshot, &mut gzip)?;
    gzip.finish()?.flush()
}

/// Reads a file that [`write`](fn@write) has written: the snapshot says what the one that was written said.
///
/// The file may come from anywhere. It is read to its end, and what is taken in memory grows with what was read: what is
/// compressed better than a snapshot can be is refused.
///
/// # Errors
///
/// When `input` cannot be read, is something else, was written by a newer heaptally, is cut off, or was changed.
pub fn read(input: impl Read) -> Result<Snapshot, ReadError> {
    let mut input = BufReader::new(input);
    let mut head = [0; MAGIC.len() + 2];
    let len = fill(&mut input, &mut head).map_err(ReadError::io)?;
    let magic = &head[..len.min(MAGIC.len())];
    if *magic != MAGIC[..magic.len()] {
        return Err(ReadError::foreign());
    }
    let [.., low, high] = head;
    match u16::from_le_bytes([low, high]) {
        _ if len < head.len() => return Err(ReadError::truncated()),
        VERSION => {}
        0 => return Err(ReadError::damaged("there is no version 0")),
        newer => return Err(ReadError::newer(newer.into(), VERSION.into())),
    }
    let text = unzip(input)?;
    json::from_slice(&text)
}

/// Reads until the buffer is full or the input ends.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match input.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The text in a gzip member, which must be all that there is.
fn unzip(input: impl BufRead) -> Result<Vec<u8>, ReadError> {
    let mut gzip = GzDecoder::new(Counted { input, bytes: 0, failed: false });
    let mut text = Vec::new();
    loop {
        let most = FREE_BYTES.saturating_add(gzip.get_ref().bytes.saturating_mul(MOST_BYTES_PER_BYTE));
        let len = text.len();
        if len as u64 > most {
            return Err(ReadError::damaged("its text is longer than that of any snapshot of its length"));
        }
        text.resize(len + STEP, 0);
        let more = fill(&mut gzip, &mut text[len..]).map_err(|error| match error.kind() {
            _ if gzip.get_ref().failed => ReadError::io(error),
            io::ErrorKind::UnexpectedEof => ReadError::truncated(),
            _ => ReadError::damaged(error.to_string()),
        })?;
        text.truncate(len + more);
        if more < STEP {
            break;
        }
    }
    // The checksum was compared when the text came to its end.
    match gzip.get_mut().fill_buf() {
        Ok([]) => Ok(text),
        Ok(_) => Err(ReadError::damaged("something follows its end")),
        Err(error) => Err(ReadError::io(error)),
    }
}

/// How much text is taken at a time.
const STEP: usize = 64 << 10;

/// Counts what was read of the input, and knows whether an error is the input's.
struct Counted<R> {
    input: R,
    bytes: u64,
    failed: bool,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(buffer)?;
        self.consume(len);
        Ok(len)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let filled = self.input.fill_buf();
        self.failed |= filled.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        filled
    }

    fn consume(&mut self, len: usize) {
        self.bytes += len as u64;
        self.input.consume(len);
    }
}

#[cfg(test)]
mod tests;
