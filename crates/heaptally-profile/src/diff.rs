//! What changed between two snapshots, by function or by another grouping.
//!
//! A pure function of the two, for any thread. Printing is in `diff_table`.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use crate::counts::Counts;
use crate::diff_row::DiffRow;
use crate::diff_table::Summary;
use crate::grouping::{Grouping, Key};
use crate::row::{self, Rank, Row, Sum};
use crate::snapshot::Snapshot;

/// What changed between two snapshots of one process. `Display` prints it as a table.
///
/// The table shows the 20 functions that grew most and adds up the others, those whose live numbers
/// did not change in a line of their own; `{:#}` shows all. Pseudo-rows follow the functions,
/// heaptally itself last; new and vanished ones say so. Functions are matched by kind and text; one
/// that only the later snapshot has counts from zero. All of this is so too for modules, files, lines
/// and stacks, if the difference is [by these](Snapshot::since_by); a stack shows its next callers.
///
/// # Examples
///
/// ```
/// # use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
/// # let snapshot = |bytes| {
/// #     let counts = Counts { allocated_blocks: 1, allocated_bytes: bytes, ..Counts::ZERO };
/// #     let (totals, sites) = (counts.into(), vec![Site::pseudo(SiteKind::Paused, counts)]);
/// #     Snapshot::from_parts(SnapshotParts { totals, sites, ..SnapshotParts::default() })
/// # };
/// # let (earlier, later) = (snapshot(100), snapshot(150));
/// let diff = later.since(&earlier);
/// for row in diff.grew(3) {
///     println!("{:+} bytes in {}", row.live_bytes(), row.function());
/// }
/// assert_eq!(diff.grew(3)[0].live_bytes(), 50);
/// ```
#[derive(Clone, Debug)]
pub struct Diff {
    rows: Vec<DiffRow>,
    totals: Counts,
    elapsed: Duration,
    grouping: Grouping,
}

impl Diff {
    pub(crate) fn new(earlier: &Snapshot, later: &Snapshot, grouping: Grouping) -> Self {
        let mut unmatched = row::add_up(earlier.sites(), grouping);
        let mut rows = Vec::new();
        let mut push = |key: &Key<'_>, before: Counts, now: &Sum<'_>| {
            if before != now.counts {
                rows.push(DiffRow::new(Row::new(key, now), before));
            }
        };
        for (key, now) in row::add_up(later.sites(), grouping) {
            let before = unmatched.remove(&key).map_or(Counts::ZERO, |before| before.counts);
            push(&key, before, &now);
        }
        for (key, before) in unmatched {
            push(&key, before.counts, &before.emptied());
        }
        rows.sort_unstable_by(|a, b| {
            let key = |row: &DiffRow| (Reverse(row.live_bytes()), Reverse(Rank::AllocatedBytes.growth(row.change())));
            key(a).cmp(&key(b)).then_with(|| a.identity().cmp(&b.identity()))
        });
        Self {
            rows,
            totals: later.totals() - earlier.totals(),
            elapsed: later.elapsed().saturating_sub(earlier.elapsed()),
            grouping,
        }
    }

    /// The functions (or what else the rows are) and pseudo-rows that allocated or freed, most growth of
    /// live bytes first.
    pub fn rows(&self) -> &[DiffRow] {
        &self.rows
    }

    /// What the rows are added up by.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// The change of the counters of the whole process.
    pub fn totals(&self) -> Counts {
        self.totals
    }

    /// At most `n` rows whose live bytes grew, most growth first.
    pub fn grew(&self, n: usize) -> Vec<&DiffRow> {
        self.rows.iter().take_while(|row| row.live_bytes() > 0).take(n).collect()
    }

    /// The first `n` rows by growth of what `rank` names, pseudo-rows among them; with a large `n` also
    /// those that shrank, last. Rows of one growth keep their order.
    pub fn top(&self, n: usize, rank: Rank) -> Vec<&DiffRow> {
        let mut rows: Vec<&DiffRow> = self.rows.iter().collect();
        rows.sort_by_key(|row| Reverse(rank.growth(row.change())));
        rows.truncate(n);
        rows
    }

    /// The time between the two snapshots.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The program's change in one line, for a log: without heaptally itself. It names what grew most, and says how
    /// many functions are new and how many have vanished, where there are any.
    pub fn summary(&self) -> impl fmt::Display {
        Summary(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::diff_row::Fate;
    use crate::fixtures::{counts, site, site_at, snapshot, snapshot_at, stack_tables};
    use crate::site::{Location, Owner, Site};
    use crate::site_kind::SiteKind;
    use crate::stack::NodeId;

    use super::*;

    fn earlier() -> Snapshot {
        snapshot_at(
            Duration::from_millis(1000),
            vec![
                site("app::grows", counts(10, 100, 0, 0)),
                site("app::shrinks", counts(10, 400, 0, 0)),
                site("app::still", counts(1, 1, 0, 0)),
                site("app::vanishes", counts(3, 30, 1, 10)),
            ],
        )
    }

    fn later() -> Snapshot {
        snapshot_at(
            Duration::from_millis(3500),
            vec![
                site("app::grows", counts(14, 180, 1, 10)),
                site("app::shrinks", counts(11, 410, 9, 360)),
                site("app::still", counts(1, 1, 0, 0)),
                site("app::new", counts(2, 50, 0, 0)),
            ],
        )
    }

    fn names<'a>(rows: impl IntoIterator<Item = &'a DiffRow>) -> Vec<&'a str> {
        rows.into_iter().map(DiffRow::function).collect()
    }

    #[test]
    fn rows_are_sorted_by_growth_and_leave_out_what_did_not_change() {
        let diff = later().since(&earlier());
        assert_eq!(names(diff.rows()), ["app::grows", "app::new", "app::vanishes", "app::shrinks"]);
        let live: Vec<(i64, i64)> = diff.rows().iter().map(|row| (row.live_blocks(), row.live_bytes())).collect();
        assert_eq!(live, [(3, 70), (2, 50), (-2, -20), (-8, -350)]);
    }

    #[test]
    fn a_change_is_later_minus_earlier() {
        let diff = later().since(&earlier());
        assert_eq!((diff.rows()[0].change(), diff.rows()[0].now()), (counts(4, 80, 1, 10), counts(14, 180, 1, 10)));
        assert_eq!((diff.rows()[1].change(), diff.rows()[1].now()), (counts(2, 50, 0, 0), counts(2, 50, 0, 0)));
        assert_eq!(diff.rows()[2].change() + counts(3, 30, 1, 10), Counts::ZERO);
        assert_eq!(diff.rows()[2].now(), Counts::ZERO);
        assert_eq!(diff.rows()[3].change(), counts(1, 10, 9, 360));
    }

    #[test]
    fn totals_and_time_are_differences_too() {
        let diff = later().since(&earlier());
        assert_eq!(diff.totals(), counts(28, 641, 10, 370) - counts(24, 531, 1, 10));
        assert_eq!(diff.totals().live_bytes(), -250);
        assert_eq!(diff.elapsed(), Duration::from_millis(2500));
    }

    #[test]
    fn only_growth_grew() {
        let diff = later().since(&earlier());
        assert_eq!(names(diff.grew(9)), ["app::grows", "app::new"]);
        assert_eq!(names(diff.grew(1)), ["app::grows"]);
    }

    #[test]
    fn two_snapshots_without_anything_between_them_differ_in_nothing() {
        let diff = later().since(&later());
        assert!(diff.rows().is_empty());
        assert_eq!((diff.totals(), diff.elapsed()), (Counts::ZERO, Duration::ZERO));
    }

    #[test]
    fn a_pseudo_row_is_not_matched_with_a_function_of_its_name() {
        let before = snapshot(vec![site("(paused)", counts(1, 8, 0, 0))]);
        let after = snapshot(vec![Site::pseudo(SiteKind::Paused, counts(1, 8, 0, 0))]);
        assert_eq!(after.since(&before).rows().len(), 2);
    }

    #[test]
    fn each_rank_puts_what_grew_most_in_it_first() {
        let before = snapshot(vec![site("live_bytes", counts(9, 9_000, 0, 0)), site("freed", counts(9, 90, 0, 0))]);
        let after = snapshot(vec![
            site("live_bytes", counts(10, 9_900, 0, 0)),
            site("live_blocks", counts(50, 100, 0, 0)),
            site("allocated_bytes", counts(10, 5_000, 10, 5_000)),
            site("allocated_blocks", counts(400, 400, 400, 400)),
        ]);
        let diff = after.since(&before);
        let top = |n, rank| names(diff.top(n, rank));
        assert_eq!(top(2, Rank::LiveBytes), ["live_bytes", "live_blocks"]);
        assert_eq!(top(2, Rank::LiveBlocks), ["live_blocks", "live_bytes"]);
        assert_eq!(top(2, Rank::AllocatedBytes), ["allocated_bytes", "live_bytes"]);
        assert_eq!(top(2, Rank::AllocatedBlocks), ["allocated_blocks", "live_blocks"]);
        // Nine blocks less than before were charged to it, which is no number near 2 to the power of 64.
        assert_eq!(top(9, Rank::AllocatedBytes)[4], "freed");
    }

    /// Line 10 grows by one stack and shrinks by another; line 20 is new.
    #[test]
    fn changes_are_added_up_by_what_was_asked_for() {
        let before = snapshot(vec![
            site_at("app::put", 1, 10, counts(4, 400, 0, 0)),
            site_at("app::get", 2, 10, counts(5, 50, 0, 0)),
        ]);
        let after = snapshot(vec![
            site_at("app::put", 1, 10, counts(6, 600, 4, 400)),
            site_at("app::get", 2, 10, counts(8, 80, 0, 0)),
            site_at("app::put", 3, 20, counts(1, 7, 0, 0)),
        ]);
        let changes = |grouping| {
            let diff = after.since_by(&before, grouping);
            assert_eq!(diff.grouping(), grouping);
            let row = |row: &DiffRow| (row.name().to_owned(), row.change(), row.now(), row.fate());
            diff.rows().iter().map(row).collect::<Vec<_>>()
        };
        let of = |name: &str, change, now, fate| (name.to_owned(), change, now, fate);
        assert_eq!(
            changes(Grouping::Function),
            [
                of("app::get", counts(3, 30, 0, 0), counts(8, 80, 0, 0), Fate::Stayed),
                of("app::put", counts(3, 207, 4, 400), counts(7, 607, 4, 400), Fate::Stayed),
            ]
        );
        assert_eq!(
            changes(Grouping::Module),
            [of("app", counts(6, 237, 4, 400), counts(15, 687, 4, 400), Fate::Stayed)]
        );
        let file = "/home/me/app/src/main.rs";
        assert_eq!(changes(Grouping::File), [of(file, counts(6, 237, 4, 400), counts(15, 687, 4, 400), Fate::Stayed)]);
        assert_eq!(
            changes(Grouping::Line),
            [
                of(&format!("{file}:20"), counts(1, 7, 0, 0), counts(1, 7, 0, 0), Fate::New),
                of(&format!("{file}:10"), counts(5, 230, 4, 400), counts(14, 680, 4, 400), Fate::Stayed),
            ]
        );
        assert_eq!(
            changes(Grouping::Stack),
            [
                of("app::get", counts(3, 30, 0, 0), counts(8, 80, 0, 0), Fate::Stayed),
                of("app::put", counts(1, 7, 0, 0), counts(1, 7, 0, 0), Fate::New),
                of("app::put", counts(2, 200, 4, 400), counts(6, 600, 4, 400), Fate::Stayed),
            ]
        );
    }

    /// By function its bytes leave one row and come in the other; its stack has just one more block.
    #[test]
    fn a_stack_that_is_charged_to_another_function_is_the_same_row_by_stack() {
        let before = snapshot(vec![site_at("app::put", 1, 10, counts(4, 400, 0, 0))]);
        let after = snapshot(vec![site_at("app::ask", 1, 30, counts(5, 500, 0, 0))]);
        let by_function = after.since(&before);
        assert_eq!(names(by_function.rows()), ["app::ask", "app::put"]);
        assert_eq!(by_function.rows().iter().map(DiffRow::fate).collect::<Vec<_>>(), [Fate::New, Fate::Vanished]);
        let by_stack = after.since_by(&before, Grouping::Stack);
        assert_eq!(names(by_stack.rows()), ["app::ask"]);
        assert_eq!((by_stack.rows()[0].change(), by_stack.rows()[0].fate()), (counts(1, 100, 0, 0), Fate::Stayed));
    }

    #[test]
    fn a_row_that_is_a_stack_gives_its_frames_when_both_snapshots_are_gone() {
        let (tables, leaf) = stack_tables(&["main", "app::run"]);
        let owner = Arc::new(Owner { function: "app::run".into(), module: Some("app".into()), location: None });
        let site = Site::new(SiteKind::Module, owner, Some((tables, leaf)), counts(1, 8, 0, 0));
        let [came, gone] = {
            let [with, without] = [snapshot(vec![site]), snapshot(Vec::new())];
            [with.since_by(&without, Grouping::Stack), without.since_by(&with, Grouping::Stack)]
        };
        for diff in [came, gone] {
            assert_eq!(diff.rows()[0].frames().map(|frame| frame.ip).collect::<Vec<_>>(), [1, 0]);
        }
    }

    /// Sites of all kinds, some without a module, a file or a line, some on one stack or without any;
    /// `numbers` decides.
    fn arbitrary_sites(numbers: &mut impl FnMut(u64) -> u64) -> Vec<Site> {
        let site = |node: u32| {
            let kind = [SiteKind::Module, SiteKind::Module, SiteKind::Other, SiteKind::NoStack][numbers(4) as usize];
            let some = |number: u64| (number > 0).then_some(number);
            let location = some(numbers(4)).map(|file| Location {
                file: format!("src/{file}.rs").into(),
                line: some(numbers(3)).map(|line| line as u32),
            });
            let owner = Owner {
                function: format!("app::f{}", numbers(9)).into(),
                module: some(numbers(4)).map(|module| format!("m{module}").into()),
                location: location.filter(|_| kind == SiteKind::Module),
            };
            let stack = (kind != SiteKind::NoStack).then(|| (Arc::default(), NodeId(node % 150)));
            let (blocks, bytes) = (numbers(50), numbers(5_000));
            Site::new(kind, Arc::new(owner), stack, counts(blocks, bytes, numbers(blocks + 1), numbers(bytes + 1)))
        };
        (1..200).map(site).collect()
    }

    #[test]
    fn the_changes_add_up_to_the_same_by_everything() {
        for seed in 1..=20 {
            let mut state: u64 = seed;
            let mut below = |bound: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % bound
            };
            let [earlier, later] = [snapshot(arbitrary_sites(&mut below)), snapshot(arbitrary_sites(&mut below))];
            let mut most_rows = 0;
            for grouping in [Grouping::Function, Grouping::Module, Grouping::File, Grouping::Line, Grouping::Stack] {
                let diff = later.since_by(&earlier, grouping);
                let sum = diff.rows().iter().fold(Counts::ZERO, |sum, row| sum + row.change());
                assert_eq!(sum, later.totals() - earlier.totals(), "{grouping:?}, seed {seed}");
                let now = later.rows_by(grouping).iter().fold(Counts::ZERO, |sum, row| sum + row.counts());
                assert_eq!(now, later.totals().counts(), "{grouping:?}, seed {seed}");
                most_rows = most_rows.max(diff.rows().len());
            }
            assert!(most_rows >= 100, "{most_rows}");
        }
    }
}
