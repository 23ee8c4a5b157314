use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::export::fixtures::{self, assert_same};
use crate::fixtures::counts;
use crate::{ChunkedBuilder, Frame, Grouping, NodeId, Owner, Site, SiteKind, SnapshotParts, StackNode, StackTables};

fn bytes(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(snapshot, &mut bytes).unwrap();
    bytes
}

/// A file with any text in it.
fn with_text(text: &[u8]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
    let mut gzip = GzEncoder::new(&mut bytes, Compression::best());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap();
    bytes
}

/// Numbers that are the same in every run.
fn numbers(mut state: u64) -> impl FnMut(usize) -> usize {
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    }
}

/// Everything that goes through a snapshot, which must not panic whatever is in it.
fn use_up(snapshot: &Snapshot) {
    _ = (snapshot.check(), snapshot.captures().total(), snapshot.summary().to_string());
    _ = format!("{snapshot:#}");
    _ = snapshot.rows_by(Grouping::Stack).iter().map(|row| row.frames().count()).sum::<usize>();
    assert_eq!(snapshot.since_by(snapshot, Grouping::Stack).rows().len(), 0);
    write(snapshot, io::sink()).unwrap();
}

#[test]
fn what_is_read_is_what_was_written() {
    for snapshot in [fixtures::snapshot(), fixtures::later(), Snapshot::from_parts(SnapshotParts::default())] {
        assert_same(&snapshot, &read(&bytes(&snapshot)[..]).unwrap());
    }
}

#[test]
fn a_file_begins_with_its_name_and_version() {
    assert_eq!(bytes(&fixtures::snapshot())[..14], *b"heaptally\0\x01\0\x1f\x8b");
}

#[test]
fn every_truncation_says_so() {
    let whole = bytes(&fixtures::snapshot());
    for len in 0..whole.len() {
        let error = read(&whole[..len]).unwrap_err();
        assert!(error.is_truncated(), "{len} of {} bytes: {error}", whole.len());
    }
}

/// Some bytes of the head of gzip mean nothing; all others are found.
#[test]
fn every_changed_byte_is_an_error_or_changes_nothing() {
    let (snapshot, whole) = (fixtures::snapshot(), bytes(&fixtures::snapshot()));
    let mut harmless = 0;
    for at in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= flip;
            if let Ok(read) = read(&changed[..]) {
                assert_same(&snapshot, &read);
                harmless += 1;
            }
        }
    }
    assert!(harmless <= 3 * 10, "{harmless}");
}

/// The checksum fits here: what is changed is the text. Nothing panics, and what is read can be used.
#[test]
fn any_text_is_an_error_or_a_snapshot() {
    let mut text = Vec::new();
    json::write(&fixtures::snapshot(), &mut text).unwrap();
    let (mut below, mut read_count) = (numbers(0x9e37_79b9_7f4a_7c15), 0);
    for _ in 0..5_000 {
        let mut changed = text.clone();
        for _ in 0..=below(3) {
            let (at, other) = (below(changed.len()), below(changed.len()));
            match below(5) {
                0 => changed[at] = b"0123456789,:[]{}\"-e.n"[below(21)],
                1 => changed[at] = below(256) as u8,
                2 => drop(changed.drain(at..(at + below(20)).min(text.len()).min(changed.len()).max(at))),
                3 => changed.insert(at, b'9'),
                _ => changed.swap(at, other),
            }
        }
        if let Ok(snapshot) = json::from_slice(&changed) {
            use_up(&snapshot);
            read_count += 1;
        }
    }
    // Changed numbers and names.
    assert!((250..4_750).contains(&read_count), "{read_count}");
}

/// Numbers that no program has reached are shown, and overflow nothing.
#[test]
fn the_largest_numbers_are_only_numbers() {
    let mut text = Vec::new();
    json::write(&fixtures::snapshot(), &mut text).unwrap();
    let whole: Value = serde_json::from_slice(&text).unwrap();
    for number in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1] {
        for key in ["totals", "totals_before", "peak", "losses", "overhead", "captures", "symbols", "threads", "sites"]
        {
            let mut changed = whole.clone();
            set_numbers(&mut changed[key], number);
            use_up(&json::from_slice(changed.to_string().as_bytes()).unwrap());
        }
        let mut changed = whole.clone();
        for key in ["sequence", "elapsed_ns", "tick", "resident_bytes"] {
            changed[key] = number.into();
        }
        use_up(&json::from_slice(changed.to_string().as_bytes()).unwrap());
    }
}

/// Sets all counters below a value. Indexes stay.
fn set_numbers(value: &mut Value, number: u64) {
    match value {
        Value::Number(own) => *own = number.into(),
        Value::Array(items) => items.iter_mut().for_each(|item| set_numbers(item, number)),
        Value::Object(fields) => {
            let counters = fields.iter_mut().filter(|(key, _)| !["owner", "stack", "os_id"].contains(&key.as_str()));
            counters.for_each(|(_, field)| set_numbers(field, number));
        }
        _ => {}
    }
}

#[test]
fn any_bytes_are_an_error() {
    let mut below = numbers(7);
    for len in 0..500 {
        let noise: Vec<u8> = (0..len).map(|_| below(256) as u8).collect();
        assert!(read(&noise[..]).is_err());
        let head = [&MAGIC[..], &VERSION.to_le_bytes(), &noise].concat();
        assert!(read(&head[..]).is_err());
    }
}

#[test]
fn what_is_no_snapshot_says_so() {
    let whole = bytes(&fixtures::snapshot());
    let version = |version: u16| {
        let mut changed = whole.clone();
        changed[10..12].copy_from_slice(&version.to_le_bytes());
        read(&changed[..]).unwrap_err()
    };
    assert_eq!(
        version(258).to_string(),
        "format 258 is newer than format 1, the last one known here: read it with a newer heaptally"
    );
    assert!(version(0).is_damaged());
    assert_eq!(read(&b"\x7fELF"[..]).unwrap_err().to_string(), "this is no snapshot of heaptally");
    assert!(read(&whole[12..]).unwrap_err().is_foreign());
    assert!(read(&with_text(b"{\"format\":2}")[..]).unwrap_err().is_newer());
    assert!(read(&with_text(b"{\"format\":1")[..]).unwrap_err().is_truncated());
    assert!(read(&[&whole[..], &[0]].concat()[..]).unwrap_err().is_damaged());
}

/// A megabyte of spaces for each kilobyte of the file: given up after the first few.
#[test]
fn what_is_compressed_better_than_a_snapshot_is_refused() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..4 {
        gzip.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let bomb = [&MAGIC[..], &VERSION.to_le_bytes(), &gzip.finish().unwrap()].concat();
    let error = read(&bomb[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the snapshot is damaged: its text is longer than that of any snapshot of its length"
    );
}

/// Sites of which each is like the next stay far from what is refused.
#[test]
fn a_snapshot_that_compresses_well_is_read() {
    let (mut frames, mut nodes) = (ChunkedBuilder::new(), ChunkedBuilder::new());
    for number in 0..20_000 {
        let frame = frames.push(Frame { ip: 0, mapping: None, lines: [].into() });
        nodes.push(StackNode { parent: NodeId(number), frame });
    }
    let tables = Arc::new(StackTables { nodes: nodes.freeze(), frames: frames.freeze() });
    let owner = Arc::new(Owner::pseudo(SiteKind::NoSymbols));
    let site = |number| {
        Site::new(SiteKind::NoSymbols, owner.clone(), Some((tables.clone(), NodeId(number))), counts(1, 1, 0, 0))
    };
    let snapshot =
        Snapshot::from_parts(SnapshotParts { sites: (1..=20_000).map(site).collect(), ..SnapshotParts::default() });
    let mut text = Vec::new();
    json::write(&snapshot, &mut text).unwrap();
    let bytes = bytes(&snapshot);
    let ratio = text.len() / bytes.len();
    assert!((3 * ratio as u64) < MOST_BYTES_PER_BYTE && text.len() as u64 > 2 * FREE_BYTES, "{ratio}");
    assert_eq!(read(&bytes[..]).unwrap().sites().len(), 20_000);
}

#[test]
fn errors_of_the_input_are_told_from_damage() {
    struct Broken(Vec<u8>);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let len = self.0.as_slice().read(buffer)?;
            self.0.drain(..len);
            Ok(len)
        }
    }
    let whole = bytes(&fixtures::snapshot());
    for len in [0, 5, 12, 20, whole.len() - 1] {
        assert!(read(Broken(whole[..len].to_vec())).unwrap_err().is_io(), "{len}");
    }
}
