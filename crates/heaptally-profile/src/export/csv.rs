//! Rows as comma-separated values, for spreadsheets and data frames.
//!
//! A pure function of the snapshot, for any thread; allocates.

use std::io::{self, Write};

use crate::grouping::Grouping;
use crate::lifetimes::AGES;
use crate::row::Row;
use crate::snapshot::Snapshot;
use crate::tick_number::TickNumber;

/// The names of the columns. Those of ages have the bounds of [`Lifetimes::freed_by_age`](crate::Lifetimes::freed_by_age).
const HEAD: &str = "kind,name,module,file,line,\
    allocated_blocks,allocated_bytes,freed_blocks,freed_bytes,live_blocks,live_bytes,temporaries,\
    freed_same_tick,freed_under_2s,freed_under_16s,freed_under_128s,freed_under_1024s,freed_older,mean_age_seconds";

const _: () = assert!(AGES == 6, "HEAD names six ages");

/// Writes a line of names, and one for each row of `grouping`, most live bytes first.
///
/// By RFC 4180: lines end in CR LF; a field with a comma, a quotation mark or a line break is in quotation marks, and a
/// quotation mark in it is doubled. `kind` is the name of the [`SiteKind`](crate::SiteKind). Fields without a value are empty.
/// `module`, `file` and `line` are those of the row's site with most live bytes. `mean_age_seconds` is that of the live
/// blocks. The row of kind `UnknownFrees` is part of no total, and its live numbers are below zero.
///
/// # Errors
///
/// Those of `out`.
///
/// # Examples
///
/// ```
/// use heaptally_profile::Grouping;
/// use heaptally_profile::export::csv;
/// # use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
/// # let counts = Counts { allocated_blocks: 1, allocated_bytes: 64, ..Counts::ZERO };
/// # let sites = vec![Site::pseudo(SiteKind::Paused, counts)];
/// # let snapshot = Snapshot::from_parts(SnapshotParts { sites, ..SnapshotParts::default() });
/// let mut table = Vec::new();
/// csv::write(&snapshot, Grouping::Function, &mut table)?;
/// let table = String::from_utf8_lossy(&table);
/// assert_eq!(table.lines().nth(1), Some("Paused,(paused),,,,1,64,0,0,1,64,0,0,0,0,0,0,0,0.000"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(snapshot: &Snapshot, grouping: Grouping, mut out: impl Write) -> io::Result<()> {
    write!(out, "{HEAD}\r\n")?;
    for row in snapshot.rows_by(grouping) {
        write_row(&row, snapshot.tick(), &mut out)?;
    }
    Ok(())
}

fn write_row(row: &Row, now: TickNumber, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{:?},{},", row.kind(), Field(row.name()))?;
    write!(out, "{},", Field(row.module().unwrap_or_default()))?;
    match row.location() {
        Some(location) => write!(out, "{},", Field(&location.file))?,
        None => write!(out, ",")?,
    }
    if let Some(line) = row.location().and_then(|location| location.line) {
        write!(out, "{line}")?;
    }
    let (counts, lifetimes) = (row.counts(), row.lifetimes());
    for number in [counts.allocated_blocks, counts.allocated_bytes, counts.freed_blocks, counts.freed_bytes] {
        write!(out, ",{number}")?;
    }
    write!(out, ",{},{}", counts.live_blocks(), counts.live_bytes())?;
    write!(out, ",{}", lifetimes.temporaries)?;
    for blocks in lifetimes.freed_by_age {
        write!(out, ",{blocks}")?;
    }
    match lifetimes.mean_age(counts, now) {
        Some(age) => write!(out, ",{:.3}\r\n", age.as_secs_f64()),
        None => write!(out, ",\r\n"),
    }
}

/// A text as a field.
struct Field<'a>(&'a str);

impl std::fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.contains([',', '"', '\r', '\n']) {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        } else {
            f.write_str(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::export::small_heap::small_heap;
    use crate::fixtures::{counts, site_in, snapshot};

    use super::*;

    fn table(snapshot: &Snapshot, grouping: Grouping) -> String {
        let mut table = Vec::new();
        write(snapshot, grouping, &mut table).unwrap();
        String::from_utf8(table).unwrap()
    }

    #[test]
    fn each_row_is_a_line_with_all_its_numbers() {
        // Live blocks of the function were born in the ticks 2, 4 and 6; in tick 10 they are 6 ticks old on average.
        assert_eq!(
            table(&small_heap(), Grouping::Function),
            "kind,name,module,file,line,allocated_blocks,allocated_bytes,freed_blocks,freed_bytes,live_blocks,live_bytes,\
             temporaries,freed_same_tick,freed_under_2s,freed_under_16s,freed_under_128s,freed_under_1024s,freed_older,\
             mean_age_seconds\r\n\
             Internal,(heaptally itself),,,,5,500,2,200,3,300,0,0,0,0,0,0,0,2.500\r\n\
             Module,\"app::cache::put<K, V>\",app,src/cache.rs,9,4,350,1,100,3,250,1,0,1,0,0,0,0,1.500\r\n\
             Paused,(paused),,,,1,8,0,0,1,8,0,0,0,0,0,0,0,2.500\r\n\
             Other,(other: z),,,,2,20,2,20,0,0,0,0,0,0,0,0,0,\r\n\
             UnknownFrees,(frees without a known allocation),,,,0,0,1,7,-1,-7,0,0,0,0,0,0,0,\r\n"
        );
    }

    #[test]
    fn rows_are_those_of_the_grouping() {
        let by_file = table(&small_heap(), Grouping::File);
        assert!(by_file.contains("\r\nModule,src/cache.rs,app,src/cache.rs,9,4,350,"), "{by_file}");
        let by_stack = table(&small_heap(), Grouping::Stack);
        assert_eq!(by_stack.matches("\"app::cache::put<K, V>\"").count(), 2, "{by_stack}");
    }

    #[test]
    fn fields_that_would_end_early_are_quoted() {
        let snapshot = snapshot(vec![site_in("a \"b\".rs", "f\nsecond, line", counts(1, 8, 0, 0))]);
        let table = table(&snapshot, Grouping::Function);
        assert!(table.contains("\r\nModule,\"f\nsecond, line\",app,\"a \"\"b\"\".rs\",1,1,8,"), "{table}");
    }
}
