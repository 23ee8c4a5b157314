//! A snapshot as text: the table a person reads, and the line a log takes.
//!
//! A pure function of the snapshot: no terminal, no colours, no clock. For any thread; allocates.

use std::fmt;

use crate::counts::Counts;
use crate::file_names::FileNames;
use crate::row::Row;
use crate::site_kind::SiteKind;
use crate::snapshot::Snapshot;
use crate::symbols::SymbolVerdict;
use crate::table::{Table, function_cell, more_cell, shown};
use crate::thread_table;
use crate::units::{Bytes, Grouped, Percent, Plural, Seconds, SignedBytes, SignedGrouped, SignedPlural};

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sequence() {
            0 if self.sites().iter().all(|site| site.kind() == SiteKind::BeforeStart) => {
                writeln!(f, "heaptally, before start")?
            }
            0 => writeln!(f, "heaptally, totals only")?,
            sequence => writeln!(f, "heaptally snapshot {sequence}, {} after start", Seconds(self.elapsed()))?,
        }
        write!(f, "\n{}\n", table(self, f))?;
        if f.alternate() && !self.threads().is_empty() {
            writeln!(f, "{}", thread_table::table(self.threads()))?;
        }
        memory(self, f)?;
        remarks(self, f)
    }
}

/// The rows of the program and their sum, then heaptally itself, then the total of the process. The
/// rows add up to it. Frees without a known allocation are in no total, so they are told among the
/// losses and not here.
pub(crate) fn table(snapshot: &Snapshot, f: &fmt::Formatter<'_>) -> Table<5> {
    let rows = snapshot.by_function();
    let (program, other): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.kind().is_program());
    // Of the rows, not of the totals, which are read later: so the percentages add up under load too.
    let whole = sum(&program);
    let live = whole.live_bytes();
    let (first, hidden) = program.split_at(shown(program.len(), f));

    let mut table = Table::new(["live bytes", "%", "live blocks", "allocated bytes", "allocated blocks"], "function");
    let names: FileNames<'_> = first.iter().filter_map(|row| row.location()).map(|place| &*place.file).collect();
    for row in first {
        table.push(cells(row.counts(), Some(live)), function_cell(row.function(), row.location(), &names));
    }
    if !hidden.is_empty() {
        table.push(cells(sum(hidden), Some(live)), more_cell(hidden.len(), "function"));
    }
    table.push(cells(whole, Some(live)), "program");
    for row in other.into_iter().filter(|row| row.kind() == SiteKind::Internal) {
        table.push(cells(row.counts(), None), row.function());
    }
    table.push(cells(snapshot.totals().counts(), None), "total");
    table
}

fn sum(rows: &[&Row]) -> Counts {
    rows.iter().fold(Counts::ZERO, |sum, row| sum + row.counts())
}

/// The percentage only for what is part of the program. Live numbers are negative only in a snapshot
/// that does not pass its check; then they show it.
fn cells(counts: Counts, program_live_bytes: Option<i64>) -> [String; 5] {
    let part = counts.live_bytes();
    [
        SignedBytes(part).to_string(),
        program_live_bytes.map_or_else(String::new, |whole| Percent { part, whole }.to_string()),
        SignedGrouped(counts.live_blocks()).to_string(),
        Bytes(counts.allocated_bytes).to_string(),
        Grouped(counts.allocated_blocks).to_string(),
    ]
}

/// Live, own and resident bytes side by side, and what none of the rows can contain.
fn memory(snapshot: &Snapshot, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let overhead = snapshot.overhead();
    write!(f, "program {} live", SignedBytes(snapshot.program().live_bytes()))?;
    if let Some(peak) = snapshot.peak() {
        write!(f, ", {} at its peak", Bytes(peak.live_bytes))?;
    }
    write!(
        f,
        "; heaptally itself {} (heap {}, tables {}, tags {}); resident ",
        Bytes(overhead.own_bytes()),
        Bytes(overhead.internal_live_bytes),
        Bytes(overhead.arena_bytes),
        Bytes(overhead.tag_bytes.saturating_add(overhead.page_map_bytes)),
    )?;
    match snapshot.resident_bytes() {
        Some(bytes) => write!(f, "{}", Bytes(bytes))?,
        None => f.write_str("unknown")?,
    }
    f.write_str("\nnot seen: memory from C malloc and mmap, and the inner allocator's slack")
}

/// What was lost, what else a reader must know, and last what would make the symbols better: one line
/// each.
fn remarks(snapshot: &Snapshot, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for line in snapshot.losses().to_string().lines() {
        write!(f, "\nlost: {line}")?;
    }
    // Without names nothing can match: then the line on symbols says why.
    let named = snapshot.symbols().verdict() != SymbolVerdict::Stripped;
    for module in snapshot.unmatched_modules().filter(|_| named) {
        write!(f, "\nmodule `{module}` matched nothing: check its spelling, or wait until it allocates")?;
    }
    for note in snapshot.notes() {
        write!(f, "\nnote: {note}")?;
    }
    match snapshot.symbols().advice() {
        Some(advice) => write!(f, "\nsymbols: {advice}"),
        None => Ok(()),
    }
}

/// The line that [`Snapshot::summary`] gives.
pub(crate) struct Summary<'a>(pub(crate) &'a Snapshot);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (snapshot, program) = (self.0, self.0.program());
        let (live_bytes, live_blocks) =
            (SignedBytes(program.live_bytes()), SignedPlural(program.live_blocks(), "block"));
        write!(f, "program {live_bytes} live in {live_blocks}")?;
        write!(f, ", allocated {}", Bytes(program.allocated_bytes))?;
        write!(f, " in {}", Plural(program.allocated_blocks, "block"))?;
        if let Some(most) = snapshot.by_function().iter().find(|row| row.kind().is_program())
            && let live_bytes @ 1.. = most.counts().live_bytes()
        {
            write!(f, "; most live: {} in {}", SignedBytes(live_bytes), most.function())?;
        }
        write!(f, "; heaptally itself {}", Bytes(snapshot.overhead().own_bytes()))?;
        match snapshot.resident_bytes() {
            Some(bytes) => write!(f, "; resident {}", Bytes(bytes)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::fixtures::{counts, site, site_at, site_in, snapshot};
    use crate::site::Site;
    use crate::{Losses, ModuleUse, Overhead, SnapshotParts, SymbolQuality, UnknownFrees};

    use super::*;

    /// heaptally itself holds more than the program: 4,194,304 of 6,242,816 live bytes.
    fn parts() -> SnapshotParts {
        SnapshotParts {
            sequence: 3,
            elapsed: Duration::from_millis(5_020),
            totals: counts(21_161, 9_363_968, 18_970, 3_121_152).into(),
            totals_before: Some(counts(21_161, 9_363_968, 18_970, 3_121_152).into()),
            sites: vec![
                site_at("app::Cache<K, V>::insert", 1, 12, counts(2_100, 1_843_200, 100, 307_200)),
                site_at("app::Cache<K, V>::insert", 2, 40, counts(50, 204_800, 0, 0)),
                site("(other: tokio)", counts(150, 409_600, 50, 102_400)),
                site("app::run", counts(1, 512, 0, 0)),
                Site::pseudo(SiteKind::BeforeStart, counts(18_800, 614_400, 18_800, 614_400)),
                Site::pseudo(SiteKind::Internal, counts(60, 6_291_456, 20, 2_097_152)),
                Site::pseudo(SiteKind::UnknownFrees, counts(0, 0, 2, 4_096)),
            ],
            overhead: Overhead {
                arena_bytes: 1_048_576,
                internal_live_bytes: 4_194_304,
                tag_bytes: 17_528,
                ..Overhead::default()
            },
            resident_bytes: Some(9_437_184),
            ..SnapshotParts::default()
        }
    }

    #[test]
    fn a_snapshot_is_a_table_that_adds_up() {
        let snapshot = Snapshot::from_parts(parts());
        assert_eq!(snapshot.check(), Ok(()));
        assert_eq!(
            snapshot.to_string(),
            "\
heaptally snapshot 3, 5.0 s after start

live bytes       %  live blocks  allocated bytes  allocated blocks  function
   1.7 MiB   85.0%        2,050          2.0 MiB             2,150  app::Cache<K, V>::insert (main.rs:12)
 300.0 KiB   15.0%          100        400.0 KiB               150  (other: tokio)
     512 B   <0.1%            1            512 B                 1  app::run
       0 B                    0        600.0 KiB            18,800  (before start)
   2.0 MiB  100.0%        2,151          2.9 MiB            21,101  program
   4.0 MiB                   40          6.0 MiB                60  (heaptally itself)
   6.0 MiB                2,191          8.9 MiB            21,161  total

program 2.0 MiB live; heaptally itself 5.0 MiB (heap 4.0 MiB, tables 1.0 MiB, tags 17.1 KiB); resident 9.0 MiB
not seen: memory from C malloc and mmap, and the inner allocator's slack"
        );
    }

    #[test]
    fn remarks_follow_the_table() {
        let module = |name: &str, matched| ModuleUse { name: name.into(), matched };
        let snapshot = Snapshot::from_parts(SnapshotParts {
            resident_bytes: None,
            losses: Losses {
                unknown_frees: UnknownFrees { blocks: 1, bytes: 16, last_address: 0x10, last_size: 16 },
                no_stack_failed: 2,
                ..Losses::default()
            },
            symbols: SymbolQuality { addresses: 9, names_only: 9, ..SymbolQuality::default() },
            modules: [module("app", true), module("ap", false)].into(),
            notes: vec!["symbols are unavailable after fork".into()],
            ..parts()
        });
        let text = snapshot.to_string();
        let remarks = &text[text.find("resident").unwrap()..];
        assert_eq!(
            remarks,
            "\
resident unknown
not seen: memory from C malloc and mmap, and the inner allocator's slack
lost: 1 free without a known allocation (16 B; the last at 0x10, 16 B): look for a write past the end of a block, \
a wrong layout, or memory of another allocator
lost: 2 allocations without a stack, because unwinding found no frame: if they are many, look for code built without \
unwind tables
module `ap` matched nothing: check its spelling, or wait until it allocates
note: symbols are unavailable after fork
symbols: inlined functions are charged to the function they were inlined into; set `debug = 1` in [profile.release] to \
see them, and lines"
        );
    }

    #[test]
    fn a_stripped_program_is_not_told_to_check_the_spelling_of_its_modules() {
        let snapshot = Snapshot::from_parts(SnapshotParts {
            symbols: SymbolQuality { addresses: 9, nameless: 9, ..SymbolQuality::default() },
            modules: [ModuleUse { name: "app".into(), matched: false }].into(),
            ..parts()
        });
        let text = snapshot.to_string();
        assert!(!text.contains("matched nothing"));
        assert!(text.ends_with(
            "symbols: no symbols: the program was stripped, so nothing can be charged to functions; set `strip = false` \
             and `debug = 1` in [profile.release]"
        ));
    }

    /// Two blocks were allocated between the reading of the rows and that of the totals.
    #[test]
    fn under_load_the_program_is_the_sum_of_its_rows_and_the_totals_are_ahead() {
        let totals = counts(5, 5_120, 0, 0).into();
        let sites =
            vec![site("app::f", counts(1, 1_024, 0, 0)), Site::pseudo(SiteKind::Internal, counts(2, 2_048, 0, 0))];
        let text = Snapshot::from_parts(SnapshotParts { totals, sites, ..SnapshotParts::default() }).to_string();
        let rows = "
   1.0 KiB  100.0%            1          1.0 KiB                 1  app::f
   1.0 KiB  100.0%            1          1.0 KiB                 1  program
   2.0 KiB                    2          2.0 KiB                 2  (heaptally itself)
   5.0 KiB                    5          5.0 KiB                 5  total

program 3.0 KiB live; ";
        assert!(text.contains(rows), "{text}");
    }

    #[test]
    fn the_header_tells_snapshots_from_what_is_counted_without_sites() {
        let header = |parts| Snapshot::from_parts(parts).to_string().lines().next().map(str::to_owned);
        let of = |kind| vec![Site::pseudo(kind, counts(1, 8, 0, 0))];
        let without_number = |sites| SnapshotParts { sequence: 0, sites, ..parts() };
        assert_eq!(header(without_number(of(SiteKind::BeforeStart))).as_deref(), Some("heaptally, before start"));
        assert_eq!(header(without_number(Vec::new())).as_deref(), Some("heaptally, before start"));
        assert_eq!(header(without_number(of(SiteKind::NoStack))).as_deref(), Some("heaptally, totals only"));
        assert_eq!(header(parts()).as_deref(), Some("heaptally snapshot 3, 5.0 s after start"));
    }

    #[test]
    fn files_of_one_name_are_told_apart() {
        let text = snapshot(vec![
            site_in("/app/src/cache/mod.rs", "app::cache::put", counts(1, 8, 0, 0)),
            site_in("/app/src/pool/mod.rs", "app::pool::grow", counts(1, 16, 0, 0)),
            site_at("app::run", 1, 5, counts(1, 24, 0, 0)),
        ])
        .to_string();
        for row in ["app::cache::put (cache/mod.rs:1)", "app::pool::grow (pool/mod.rs:1)", "app::run (main.rs:5)"] {
            assert!(text.contains(&format!("  {row}\n")), "{text}");
        }
    }

    /// 23 functions of 1 to 23 KiB: the 20 largest are shown, the other three hold 3 + 2 + 1 KiB in
    /// 6 blocks.
    #[test]
    fn rows_beyond_the_twentieth_are_added_up() {
        let sites = (1..=23).map(|n| site(&format!("app::f{n}"), counts(n + 1, 1024 * (n + 1), 1, 1024))).collect();
        let snapshot = snapshot(sites);
        let text = snapshot.to_string();
        assert!(text.contains("\n   4.0 KiB    1.4%            4          5.0 KiB                 5  app::f4\n"));
        assert!(!text.contains("app::f3\n"));
        assert!(text.contains(
            "\n   6.0 KiB    2.2%            6          9.0 KiB                 9  … and 3 more functions\n"
        ));
        let full = format!("{snapshot:#}");
        assert!(full.contains("app::f1\n") && !full.contains("more function"));
    }

    #[test]
    fn an_empty_snapshot_is_lines_of_zeros() {
        let text = Snapshot::from_parts(SnapshotParts::default()).to_string();
        assert!(text.contains("       0 B               0              0 B                 0  program\n"), "{text}");
        assert!(text.contains("       0 B               0              0 B                 0  total\n"), "{text}");
    }

    #[test]
    fn a_negative_live_number_shows() {
        let text = snapshot(vec![site("app::f", counts(1, 10, 3, 2058))]).to_string();
        assert!(text.contains("\n  -2.0 KiB"), "{text}");
    }

    #[test]
    fn a_summary_is_one_line_about_the_program() {
        assert_eq!(
            Snapshot::from_parts(parts()).summary().to_string(),
            "program 2.0 MiB live in 2,151 blocks, allocated 2.9 MiB in 21,101 blocks; most live: 1.7 MiB in \
             app::Cache<K, V>::insert; heaptally itself 5.0 MiB; resident 9.0 MiB"
        );
        let one = snapshot(vec![site("app::f", counts(1, 8, 0, 0))]);
        assert!(one.summary().to_string().starts_with("program 8 B live in 1 block, allocated 8 B in 1 block; "));
        let unknown = Site::pseudo(SiteKind::UnknownFrees, counts(0, 0, 1, 8));
        assert_eq!(
            snapshot(vec![unknown]).summary().to_string(),
            "program 0 B live in 0 blocks, allocated 0 B in 0 blocks; heaptally itself 0 B"
        );
    }
}
