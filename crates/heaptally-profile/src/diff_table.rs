//! A difference as text: the table a person reads, and the line a log takes.
//!
//! A pure function of the difference: no terminal, no colours, no clock. For any thread; allocates.

use std::fmt;

use crate::counts::Counts;
use crate::diff::Diff;
use crate::diff_row::{DiffRow, Fate};
use crate::file_names::FileNames;
use crate::grouping::Grouping;
use crate::site_kind::SiteKind;
use crate::table::{Table, function_cell, more_cell, place_cell, shown, unchanged_cell};
use crate::units::{Bytes, BytesChange, Grouped, GroupedChange, Plural, Seconds, SignedBytes, SignedGrouped};

/// How many callers tell a stack from others that are charged to the same function.
const CALLERS: usize = 3;

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

    let noun = diff.grouping().noun();
    let mut table = Table::new(HEADER, noun);
    let named = || first.iter().chain(listed);
    let names: FileNames<'_> = named().filter_map(|row| row.location()).map(|location| &*location.file).collect();
    for row in named() {
        table.push(cells(row.change()), row_cell(row, diff.grouping(), &names));
    }
    if !hidden.is_empty() {
        table.push(cells(sum(hidden)), more_cell(hidden.len(), noun));
    }
    if !folded.is_empty() {
        table.push(cells(sum(folded)), unchanged_cell(folded.len(), noun));
    }
    for row in other {
        table.push(cells(row.change()), marked(row, row.name().to_owned()));
    }
    table.push(cells(diff.totals()), "total");
    table
}

/// Lines of the first rows of a difference, and one that adds up its others.
pub(crate) fn table_of(first: &[&DiffRow], others: &[&DiffRow], grouping: Grouping) -> Table<4> {
    let mut table = Table::new(HEADER, grouping.noun());
    let names: FileNames<'_> = first.iter().filter_map(|row| row.location()).map(|place| &*place.file).collect();
    for row in first {
        table.push(cells(row.change()), row_cell(row, grouping, &names));
    }
    if !others.is_empty() {
        table.push(cells(sum(others)), more_cell(others.len(), grouping.noun()));
    }
    table
}

/// The last column: what the row is called, as short as it stays distinct.
fn row_cell(row: &DiffRow, grouping: Grouping, names: &FileNames<'_>) -> String {
    let name = match (grouping, row.location()) {
        (Grouping::Function, place) => function_cell(row.name(), place, names),
        (Grouping::Stack, place) => function_cell(row.name(), place, names) + &callers(row),
        (Grouping::File, Some(place)) if row.kind() == SiteKind::Module => names.short(&place.file).to_owned(),
        (Grouping::Line, Some(place)) if row.kind() == SiteKind::Module => place_cell(place, names),
        _ => row.name().to_owned(),
    };
    marked(row, name)
}

/// Behind the name and not in a column of its own, since most rows of most tables are neither.
fn marked(row: &DiffRow, name: String) -> String {
    match row.fate() {
        Fate::New => name + " [new]",
        Fate::Vanished => name + " [vanished]",
        Fate::Stayed => name,
    }
}

/// Who called the function that the stack is charged to, innermost first.
fn callers(row: &DiffRow) -> String {
    let functions = row.frames().flat_map(|frame| &*frame.lines).map(|line| &*line.function);
    let mut callers = functions.skip_while(|function| *function != row.function()).skip(1);
    let mut cell: String = callers.by_ref().take(CALLERS).map(|caller| format!(" ← {caller}")).collect();
    if callers.next().is_some() {
        cell.push_str(" ← …");
    }
    cell
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
        let (rows, noun) = (self.0.rows(), self.0.grouping().noun());
        let own = rows.iter().filter(|row| row.kind() == SiteKind::Internal);
        let program = own.fold(self.0.totals(), |program, row| program - row.change());
        let [live_bytes, live_blocks, allocated_bytes, allocated_blocks] = cells(program);
        write!(f, "in {}: program {live_bytes} live in {live_blocks} blocks", Seconds(self.0.elapsed()))?;
        write!(f, ", allocated {allocated_bytes} in {allocated_blocks} blocks")?;
        let freed_blocks = SignedGrouped(program.freed_blocks.cast_signed());
        write!(f, ", freed {} in {freed_blocks} blocks", SignedBytes(program.freed_bytes.cast_signed()))?;
        match rows.iter().find(|row| row.kind().is_program() && row.live_bytes() > 0) {
            Some(most) => write!(f, "; most growth: {} in {}", BytesChange(most.live_bytes()), most.name())?,
            None => write!(f, "; no {noun} grew")?,
        }
        let mut before = format!("; {noun}s: ");
        for (fate, name) in [(Fate::New, "new"), (Fate::Vanished, "vanished")] {
            let of_it = rows.iter().filter(|row| row.kind().is_code() && row.fate() == fate).count();
            if of_it > 0 {
                write!(f, "{before}{} {name}", Grouped(of_it as u64))?;
                before = ", ".to_owned();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::fixtures::{counts, site, site_at, site_in, snapshot, snapshot_at, stack_tables};
    use crate::site::{Owner, Site};

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
    +100 B           +1            100 B                 1  app::found [new]
    -100 B           -1           -100 B                -1  app::gone [vanished]
  -8.0 KiB           -8            100 B                 1  app::drain [vanished]
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
  -8.0 KiB           -8            100 B                 1  app::drain [vanished]
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
        assert!(diff.to_string().contains("  app::cache::put (mod.rs:1) [new]\n"), "{diff}");
        let full = format!("{diff:#}");
        assert!(full.contains("  app::cache::put (cache/mod.rs:1) [new]\n"), "{full}");
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
        assert!(format!("{diff:#}").contains("app::f1 [new]\n"));
    }

    #[test]
    fn the_table_of_another_grouping_names_its_rows() {
        let before = snapshot(vec![Site::pseudo(SiteKind::Paused, counts(2, 20, 0, 0))]);
        let after = snapshot(vec![
            site_in("/app/src/cache/mod.rs", "app::put", counts(1, 80, 0, 0)),
            site_in("/app/src/pool/mod.rs", "app::grow", counts(1, 70, 0, 0)),
            site("app::f", counts(1, 60, 0, 0)),
            site("app::g", counts(1, 50, 1, 50)),
            Site::pseudo(SiteKind::Paused, counts(3, 25, 0, 0)),
        ]);
        let names = |grouping| {
            let text = after.since_by(&before, grouping).to_string();
            let rows = text.lines().skip(2).filter_map(|line| line.split("  ").last());
            rows.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(names(Grouping::Module), ["module", "app [new]", "(paused)", "total"]);
        assert_eq!(
            names(Grouping::File),
            ["file", "cache/mod.rs [new]", "pool/mod.rs [new]", "(no file) [new]", "(paused)", "total"]
        );
        assert_eq!(
            names(Grouping::Line),
            ["line", "cache/mod.rs:1 [new]", "pool/mod.rs:1 [new]", "(no file) [new]", "(paused)", "total"]
        );
        assert_eq!(
            names(Grouping::Stack),
            [
                "stack",
                "app::put (cache/mod.rs:1) [new]",
                "app::grow (pool/mod.rs:1) [new]",
                "app::f [new]",
                "… and 1 stack that freed what it allocated",
                "(paused)",
                "total"
            ]
        );
        let summary = after.since_by(&before, Grouping::File).summary().to_string();
        assert!(summary.ends_with("; most growth: +80 B in /app/src/cache/mod.rs; files: 3 new"), "{summary}");
        let summary = before.since_by(&after, Grouping::Module).summary().to_string();
        assert!(summary.ends_with("; no module grew; modules: 1 vanished"), "{summary}");
    }

    /// `grow` and `alloc` are the allocator's, inside what the stack is charged to.
    #[test]
    fn a_stack_shows_its_next_callers() {
        let change = |functions: &[&str]| {
            let owner = Owner { function: "app::put".into(), module: Some("app".into()), location: None };
            let stack = Some(stack_tables(functions));
            let site = Site::new(SiteKind::Module, Arc::new(owner), stack, counts(1, 8, 0, 0));
            snapshot(vec![site]).since_by(&snapshot(Vec::new()), Grouping::Stack).to_string()
        };
        let three = change(&["main", "app::run", "app::put", "app::put", "grow", "alloc"]);
        assert!(three.contains("  app::put ← app::put ← app::run ← main [new]\n"), "{three}");
        let four = change(&["_start", "main", "app::run", "app::load", "app::put", "alloc"]);
        assert!(four.contains("  app::put ← app::load ← app::run ← main ← … [new]\n"), "{four}");
        let inlined_away = change(&["main", "alloc"]);
        assert!(inlined_away.contains("  app::put [new]\n"), "{inlined_away}");
    }

    /// The total without heaptally itself: 3,624,860 - 2,097,152 = 1,527,708 live bytes, 1,541 - 50 live
    /// blocks, 4,659,300 - 2,097,152 = 2,562,148 allocated bytes, 3,553 - 50 allocated blocks. Freed are
    /// 8,292 + 1,024,000 + 2,048 + 100 = 1,034,440 bytes in 9 + 2,000 + 2 + 1 blocks.
    #[test]
    fn a_summary_is_one_line_about_the_program() {
        assert_eq!(
            diff().summary().to_string(),
            "in 1.0 s: program +1.5 MiB live in +1,491 blocks, allocated 2.4 MiB in 3,503 blocks, freed 1010.2 KiB in \
             2,012 blocks; most growth: +1.5 MiB in app::sessions::open; functions: 1 new, 2 vanished"
        );
        let nothing = snapshot(Vec::new());
        assert_eq!(
            nothing.since(&nothing).summary().to_string(),
            "in 0.0 s: program 0 B live in 0 blocks, allocated 0 B in 0 blocks, freed 0 B in 0 blocks; no function grew"
        );
    }
}
