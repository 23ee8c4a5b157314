//! pprof: the profile format of `go tool pprof`, of pprof's web page, and of services for continuous profiling.
//!
//! Called by programs, on any thread; allocates. A profile is written in parts, each a message of its own: protobuf joins
//! the fields of messages that follow each other, so that neither samples nor tables are ever in memory together.

mod messages;
mod tables;

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use self::messages::{Profile, ValueType};
use self::tables::Tables;
use crate::counts::Counts;
use crate::diff::Diff;
use crate::export::sample::{self, Sample};
use crate::row::Rank;
use crate::snapshot::Snapshot;

/// Samples in one part.
const PART: usize = 1024;

/// What is counted, in the order of Go's own heap profiles, which tools rely on.
const SAMPLE_TYPES: [(&str, &str); 4] =
    [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")];

/// Writes a snapshot as a heap profile of pprof, compressed with gzip: usually a file named `.pb.gz`.
///
/// Each site is one sample with four exact values: blocks and bytes allocated since the process began, blocks and bytes
/// live. They add up to [`Snapshot::totals`] as the sites do. Stacks have functions, files, lines and inlined frames as
/// far as they are known, and always the addresses and the loaded files, so that pprof can look up names elsewhere.
/// Pseudo-rows are stacks of one frame named like them; frees without a known allocation, which no total contains, are
/// left out. Notes and losses are the profile's comments.
///
/// `shown` is the value that a reader shows unless asked for another, and `taken` the time of the snapshot.
///
/// # Errors
///
/// Those of `out`.
///
/// # Examples
///
/// ```
/// use std::time::SystemTime;
///
/// use heaptally_profile::Rank;
/// use heaptally_profile::export::pprof;
/// # use heaptally_profile::{Snapshot, SnapshotParts};
/// # let snapshot = Snapshot::from_parts(SnapshotParts::default());
///
/// let mut profile = Vec::new();
/// pprof::write(&snapshot, Rank::LiveBytes, SystemTime::now(), &mut profile)?;
/// assert_eq!(profile[..2], [0x1f, 0x8b], "the first bytes of gzip");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(snapshot: &Snapshot, shown: Rank, taken: SystemTime, out: impl Write) -> io::Result<()> {
    let mut comments: Vec<&str> = snapshot.notes().iter().map(String::as_str).collect();
    let losses = snapshot.losses().to_string();
    comments.extend(losses.lines());
    let head = Head { shown, comments: &comments, elapsed: snapshot.elapsed(), taken };
    write_samples(sample::of_snapshot(snapshot), head, out)
}

/// Writes the change between two snapshots as a profile of pprof, like [`write`](fn@write).
///
/// Values are what was allocated in between, and by how much the live numbers grew: less than zero where more was freed.
/// Made of a difference [by stack](crate::Grouping::Stack) it has stacks; of any other, each row is a stack of one frame.
/// `shown` is as there, and `taken` the time of the later snapshot.
///
/// # Errors
///
/// Those of `out`.
///
/// # Examples
///
/// ```
/// use std::time::SystemTime;
///
/// use heaptally_profile::{Grouping, Rank};
/// use heaptally_profile::export::pprof;
/// # use heaptally_profile::{Snapshot, SnapshotParts};
/// # let [earlier, later] = [SnapshotParts::default(), SnapshotParts::default()].map(Snapshot::from_parts);
///
/// let diff = later.since_by(&earlier, Grouping::Stack);
/// let mut profile = Vec::new();
/// pprof::write_diff(&diff, Rank::LiveBytes, SystemTime::now(), &mut profile)?;
/// # assert!(!profile.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_diff(diff: &Diff, shown: Rank, taken: SystemTime, out: impl Write) -> io::Result<()> {
    let head = Head { shown, comments: &[], elapsed: diff.elapsed(), taken };
    write_samples(sample::of_diff(diff), head, out)
}

fn write_samples<'a>(samples: impl Iterator<Item = Sample<'a>>, head: Head<'a>, out: impl Write) -> io::Result<()> {
    // As Go's runtime does: whoever asks for a profile waits for it.
    let mut out = Parts { gzip: GzEncoder::new(out, Compression::fast()), encoded: Vec::new() };
    let mut tables = Tables::new();
    head.begin(&mut tables);
    for sample in samples {
        let location_id = tables.stack(&sample);
        tables.part.sample.push(messages::Sample { location_id, value: values(sample.counts).into() });
        if tables.part.sample.len() == PART {
            out.write(&mut tables.part)?;
        }
    }
    out.write(&mut tables.part)?;
    out.write(&mut Profile { mapping: tables.into_mappings(), ..Profile::default() })?;
    out.gzip.finish()?.flush()
}

/// What a profile has once.
struct Head<'a> {
    shown: Rank,
    comments: &'a [&'a str],
    elapsed: Duration,
    taken: SystemTime,
}

impl<'a> Head<'a> {
    /// Makes it the first part.
    fn begin(&self, tables: &mut Tables<'a>) {
        let mut value_type = |(name, unit)| ValueType { r#type: tables.string(name), unit: tables.string(unit) };
        let sample_type: Vec<ValueType> = SAMPLE_TYPES.map(&mut value_type).into();
        let period_type = value_type(("space", "bytes"));
        let comment = self.comments.iter().map(|comment| tables.string(comment)).collect();
        let string_table = std::mem::take(&mut tables.part.string_table);
        let shown = match self.shown {
            Rank::AllocatedBlocks => 0,
            Rank::AllocatedBytes => 1,
            Rank::LiveBlocks => 2,
            Rank::LiveBytes => 3,
        };
        tables.part = Profile {
            default_sample_type: sample_type[shown].r#type,
            sample_type,
            period_type: Some(period_type),
            // Every byte is counted.
            period: 1,
            comment,
            time_nanos: match self.taken.duration_since(SystemTime::UNIX_EPOCH) {
                Ok(since) => nanos(since),
                Err(before) => -nanos(before.duration()),
            },
            duration_nanos: nanos(self.elapsed),
            string_table,
            ..Profile::default()
        };
    }
}

/// In the order of [`SAMPLE_TYPES`].
fn values(counts: Counts) -> [i64; 4] {
    // Negative in a difference in which sites were charged to other rows.
    let [blocks, bytes] = [counts.allocated_blocks, counts.allocated_bytes].map(u64::cast_signed);
    [blocks, bytes, counts.live_blocks(), counts.live_bytes()]
}

/// Up to 292 years.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The profile on its way out.
struct Parts<W: Write> {
    gzip: GzEncoder<W>,
    /// Kept for the next part.
    encoded: Vec<u8>,
}

impl<W: Write> Parts<W> {
    /// Writes a part, and leaves it empty.
    fn write(&mut self, part: &mut Profile) -> io::Result<()> {
        self.encoded.clear();
        std::mem::take(part).encode(&mut self.encoded).expect("a vector has room for any message");
        self.gzip.write_all(&self.encoded)
    }
}

#[cfg(test)]
mod tests;
