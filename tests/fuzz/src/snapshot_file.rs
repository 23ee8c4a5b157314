//! What holds of a snapshot's file, and of its text, wherever they come from: reading takes memory by their length, and what
//! was read can be used, written and read again.
//!
//! Compiled into a fuzzer and into a test, each with heaptally as its global allocator, on the calling thread. Input that
//! begins as a file does is a file; all other is text, since a fuzzer cannot make a checksum.

use std::io;
use std::time::SystemTime;

use heaptally::export::{csv, dhat, file, folded, json, pprof, prometheus};
use heaptally::{Grouping, Rank, Snapshot};

const FILE_BEGIN: &[u8] = b"heaptally\0";
/// What the readers take however short the input is, several buffers and gzip's tables, and for each byte of text: a text
/// of nothing but empty lists makes most of them. A file has a free MiB of text, and 128 bytes for each of its own.
const FREE_BYTES: usize = 1 << 20;
const BYTES_OF_TEXT_BYTE: usize = 100;
const FREE_TEXT_BYTES: usize = (1 << 20) + (64 << 10);
const TEXT_BYTES_OF_FILE_BYTE: usize = 128;

/// See the module's head.
///
/// # Panics
///
/// When something does not hold.
pub(crate) fn check(data: &[u8]) {
    let is_file = data.starts_with(FILE_BEGIN);
    let (read, counts) = heaptally::measure(|| if is_file { file::read(data) } else { json::read(data) });
    let text_bytes = if is_file {
        FREE_TEXT_BYTES + TEXT_BYTES_OF_FILE_BYTE * data.len().next_multiple_of(8 << 10)
    } else {
        data.len()
    };
    let most_bytes = FREE_BYTES + BYTES_OF_TEXT_BYTE * text_bytes;
    assert!(counts.allocated_bytes <= most_bytes as u64, "{counts:?} for {} bytes", data.len());
    let Ok(snapshot) = read else { return };
    use_up(&snapshot);
    let text = text(&snapshot);
    assert_eq!(self::text(&json::read(&text[..]).expect("what was written")), text);
    let mut bytes = Vec::new();
    file::write(&snapshot, &mut bytes).expect("a vector takes everything");
    let again = file::read(&bytes[..]).expect("what was written");
    assert_eq!(self::text(&again), text);
    assert_eq!((again.check(), format!("{again:#}")), (snapshot.check(), format!("{snapshot:#}")));
}

/// All of a snapshot, in one order: two with the same text are equal.
fn text(snapshot: &Snapshot) -> Vec<u8> {
    let mut text = Vec::new();
    json::write(snapshot, &mut text).expect("a vector takes everything");
    text
}

/// Goes through all of it, which must not panic whatever is in it.
fn use_up(snapshot: &Snapshot) {
    let _ = (snapshot.summary().to_string(), snapshot.captures().total());
    let _ = snapshot.rows_by(Grouping::Stack).iter().map(|row| row.frames().count()).sum::<usize>();
    assert_eq!(snapshot.since_by(snapshot, Grouping::Stack).rows().len(), 0);
    let written = [
        csv::write(snapshot, Grouping::Function, io::sink()),
        dhat::write(snapshot, dhat::Blocks::Live, io::sink()),
        folded::write(snapshot, Rank::LiveBytes, io::sink()),
        pprof::write(snapshot, Rank::LiveBytes, SystemTime::UNIX_EPOCH, io::sink()),
        prometheus::write(snapshot, usize::MAX, io::sink()),
    ];
    written.into_iter().for_each(|written| written.expect("a sink takes everything"));
}
