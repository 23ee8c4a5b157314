//! A difference as text: the table a person reads, and the line a log takes.
//!
//! A pure function of the difference: no terminal, no colours, no clock. For any thread; allocates.

use std::fmt;

use crate::counts::Counts;
use crate::diff::{Diff, DiffRow};
use crate::file_names::FileNames;
use crate::site_kind::SiteKind;
use crate::table::{Table, function_cell, more_cell, shown, unchanged_cell};
use crate::units::{Bytes, BytesChange, GroupedChange, Plural, Seconds, SignedBytes, SignedGrouped};

const HEADER: [&str; 4] = ["live bytes", "live blocks", "allocated bytes", "allocated blocks"];

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "heaptally, change in {}\n\n{}", Seconds(self.elapsed()), table(self, f).to_string().trim_end())?;
        for row in self.rows().iter().filter(|row| row.kind() == SiteKind::UnknownFrees) {
            let (frees, bytes) = (Plural(row.change().freed_blocks, "free"), Bytes(row.change().freed_bytes));
            write!(f, "\n\nlost: {frees} without a known allocation ({bytes}): the snapshot says what to look for")?;
        }
        Ok(())
    }
}

/// First the code whose live numbers changed, then the code whose live numbers did not, then what is
/// not code, heaptally itself last. The lines add up to the total line, which does not contain frees
/// without a known allocation.
fn table(diff: &Diff, f: &fmt::Formatter<'_>) -> Table<4> {
    let rows = diff.rows().iter().filter(|row| row.kind() != SiteKind::UnknownFrees);
    let (code, mut other): (Vec<&DiffRow>, Vec<&DiffRow>) = rows.partition(|row| row.kind().is_code());
    other.sort_by_key(|row| row.kind() == SiteKind::Internal);
    let is_unchanged = |row: &&DiffRow| (row.live_bytes(), row.live_blocks()) == (0, 0);
    let (unchanged, changed): (Vec<&DiffRow>, Vec<&DiffRow>) = code.into_iter().partition(is_unchanged);
    let (first, hidden) = changed.split_at(shown(changed.len(), f));
    let (listed, folded) = unchanged.split_at(if f.alternate() { unchanged.len() } else { 0 });

    let mut table = Table::new(HEADER);
    let named = || first.iter().chain(listed);
    let names: FileNames<'_> = named().filter_map(|row| row.location()).map(|location| &*location.file).collect();
    for row in named() {
        table.push(cells(row.change()), function_cell(row.function(), row.location(), &names));
    }
    if !hidden.is_empty() {
        table.push(cells(sum(hidden)), more_cell(hidden.len()));
    }
    if !folded.is_empty() {
        table.push(cells(sum(folded)), unchanged_cell(folded.len()));
    }
    for row in other {
        table.push(cells(row.change()), row.function());
    }
    table.push(cells(diff.totals()), "total");
    table
}

/// Lines of the first rows, and one that adds up the others.
pub(crate) fn table_of(first: &[&DiffRow], others: &[&DiffRow]) -> Table<4> {
    let mut table = Table::new(HEADER);
    let names: FileNames<'_> = first.iter().filter_map(|row| row.location()).map(|place| &*place.file).collect();
    for row in first {
        table.push(cells(row.change()), function_cell(row.function(), row.location(), &names));
    }
    if !others.is_empty() {
        table.push(cells(sum(others)), more_cell(others.len()));
    }
    table
}

fn sum(rows: &[&DiffRow]) -> Counts {
    rows.iter().fold(Counts::ZERO, |sum, row| sum + row.change())
}

/// Live numbers go up and down and show which. Allocated numbers only grow, unless sites were charged
/// to other functions meanwhile: only then they have a sign.
fn cells(change: Counts) -> [String; 4] {
    [
        BytesChange(change.live_bytes()).to_string(),
        GroupedChange(change.live_blocks()).to_string(),
        SignedBytes(change.allocated_bytes.cast_signed()).to_string(),
        SignedGrouped(change.allocated_blocks.cast_signed()).to_string(),
    ]
}

/// The line that [`Diff::summary`] gives.
pub(crate) struct Summary<'a>(pub(crate) &'a Diff);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.rows();
        let own = rows.iter().filter(|row| row.kind() == SiteKind::Internal);
        let program = own.fold(self.0.totals(), |program, row| program - row.change());
        let [live_bytes, live_blocks, allocated_bytes, allocated_blocks] = cells(program);
        write!(f, "in {}: program {live_bytes} live in {live_blocks} blocks", Seconds(self.0.elapsed()))?;
        write!(f, ", allocated {allocated_bytes} in {allocated_blocks} blocks")?;
        match rows.iter().find(|row| row.kind().is_program() && row.live_bytes() > 0) {
            Some(most) => write!(f, "; most growth: {} in {}", BytesChange(most.live_bytes()), most.function()),
            None => f.write_str("; no function grew"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::fixtures::{counts, site, site_at, site_in, snapshot, snapshot_at};
    use crate::site::Site;

    use super::*;

    /// heaptally itself grows most, render and keep free as much as they allocate: 2,000 + 2 blocks,
    /// 1,024,000 + 2,048 bytes.
    fn diff() -> Diff {
        let earlier = vec![
            site_at("app::sessions::open", 1, 7, counts(10, 10_240, 0, 0)),
            site("app::drain", counts(8, 8_192, 0, 0)),
            site("app::gone", counts(1, 100, 0, 0)),
            site("app::render", counts(10, 5_120, 10, 5_120)),
            site("app::keep", counts(4, 4_096, 0, 0)),
            Site::pseudo(SiteKind::BeforeStart, counts(5, 500, 0, 0)),
            Site::pseudo(SiteKind::Internal, counts(100, 102_400, 0, 0)),
        ];
        let later = vec![
            site_at("app::sessions::open", 1, 7, counts(1_510, 1_546_240, 0, 0)),
            site("app::drain", counts(9, 8_292, 9, 8_292)),
            site("app::found", counts(1, 100, 0, 0)),
            site("app::render", counts(2_010, 1_029_120, 2_010, 1_029_120)),
            site("app::keep", counts(6, 6_144, 2, 2_048)),
            Site::pseudo(SiteKind::BeforeStart, counts(5, 500, 1, 100)),
            Site::pseudo(SiteKind::Internal, counts(150, 2_199_552, 0, 0)),
            Site::pseudo(SiteKind::UnknownFrees, counts(0, 0, 2, 64)),
        ];
        snapshot_at(Duration::from_secs(3), later).since(&snapshot_at(Duration::from_secs(2), earlier))
    }

    #[test]
    fn a_diff_is_a_table_of_signed_numbers_that_adds_up() {
        assert_eq!(
            diff().to_string(),
            "\
heaptally, change in 1.0 s

live bytes  live blocks  allocated bytes  allocated blocks  function
  +1.5 MiB       +1,500          1.5 MiB             1,500  app::sessions::open (main.rs:7)
    +100 B           +1            100 B                 1  app::found
    -100 B           -1           -100 B                -1  app::gone
  -8.0 KiB           -8            100 B                 1  app::drain
       0 B            0       1002.0 KiB             2,002  … and 2 functions that freed what they allocated
    -100 B           -1              0 B                 0  (before start)
  +2.0 MiB          +50          2.0 MiB                50  (heaptally itself)
  +3.5 MiB       +1,541          4.4 MiB             3,553  total

lost: 2 frees without a known allocation (64 B): the snapshot says what to look for"
        );
    }

    #[test]
    fn the_whole_table_names_the_functions_that_freed_what_they_allocated() {
        let text = format!("{:#}", diff());
        let rows = "
  -8.0 KiB           -8            100 B                 1  app::drain
       0 B            0       1000.0 KiB             2,000  app::render
       0 B            0          2.0 KiB                 2  app::keep
    -100 B           -1              0 B                 0  (before start)
";
        assert!(text.contains(rows), "{text}");
        assert!(!text.contains("that freed"), "{text}");
    }

    #[test]
    fn a_function_whose_blocks_became_fewer_for_the_same_bytes_has_a_row() {
        let before = snapshot(vec![site("app::merge", counts(4, 400, 0, 0))]);
        let after = snapshot(vec![site("app::merge", counts(5, 800, 4, 400))]);
        let text = after.since(&before).to_string();
        assert!(text.contains("\n       0 B           -3            400 B                 1  app::merge\n"), "{text}");
    }

    #[test]
    fn files_of_one_name_are_told_apart_in_the_rows_that_are_shown() {
        let earlier = vec![site_in("/app/src/idle/mod.rs", "app::idle", counts(1, 8, 1, 8))];
        let later = vec![
            site_in("/app/src/cache/mod.rs", "app::cache::put", counts(1, 8, 0, 0)),
            site_in("/app/src/idle/mod.rs", "app::idle", counts(2, 16, 2, 16)),
        ];
        let diff = snapshot(later).since(&snapshot(earlier));
        assert!(diff.to_string().contains("  app::cache::put (mod.rs:1)\n"), "{diff}");
        let full = format!("{diff:#}");
        assert!(full.contains("  app::cache::put (cache/mod.rs:1)\n"), "{full}");
        assert!(full.contains("  app::idle (idle/mod.rs:1)\n"), "{full}");
    }

    #[test]
    fn rows_beyond_the_twentieth_are_added_up() {
        let sites = (1..=23).map(|n| site(&format!("app::f{n}"), counts(n, 1024 * n, 0, 0))).collect();
        let diff = snapshot(sites).since(&snapshot(Vec::new()));
        assert!(
            diff.to_string()
                .contains("  +6.0 KiB           +6          6.0 KiB                 6  … and 3 more functions\n")
        );
        assert!(format!("{diff:#}").contains("app::f1\n"));
    }

    /// The total without heaptally itself: 3,624,860 - 2,097,152 = 1,527,708 live bytes, 1,541 - 50 live
    /// blocks, 4,659,300 - 2,097,152 = 2,562,148 allocated bytes, 3,553 - 50 allocated blocks.
    #[test]
    fn a_summary_is_one_line_about_the_program() {
        assert_eq!(
            diff().summary().to_string(),
            "in 1.0 s: program +1.5 MiB live in +1,491 blocks, allocated 2.4 MiB in 3,503 blocks; most growth: +1.5 MiB \
             in app::sessions::open"
        );
        let nothing = snapshot(Vec::new());
        assert_eq!(
            nothing.since(&nothing).summary().to_string(),
            "in 0.0 s: program 0 B live in 0 blocks, allocated 0 B in 0 blocks; no function grew"
        );
    }
}
