//! What changed between two snapshots, by function.
//!
//! A pure function of the two, for any thread. Printing is in `diff_table`.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::counts::Counts;
use crate::diff_table::Summary;
use crate::row::Row;
use crate::site::{Location, Owner};
use crate::site_kind::SiteKind;
use crate::snapshot::Snapshot;

/// The change of one function, or of one pseudo-row.
#[derive(Clone, Debug)]
pub struct DiffRow {
    owner: Arc<Owner>,
    change: Counts,
    now: Counts,
    kind: SiteKind,
}

impl DiffRow {
    /// Whether the row is code or a pseudo-row.
    pub fn kind(&self) -> SiteKind {
        self.kind
    }

    /// The path of the function, or the name of the pseudo-row.
    pub fn function(&self) -> &str {
        &self.owner.function
    }

    /// The configured module that the function belongs to.
    pub fn module(&self) -> Option<&str> {
        self.owner.module.as_deref()
    }

    /// The place in the function, as [`Row::location`] gives it.
    pub fn location(&self) -> Option<&Location> {
        self.owner.location.as_ref()
    }

    /// What was allocated and freed between the two snapshots.
    ///
    /// Allocated and freed numbers can be less than before only when sites were charged to other
    /// functions meanwhile, because the modules were changed or symbols became known; they are then
    /// two's complement.
    pub fn change(&self) -> Counts {
        self.change
    }

    /// The counters at the later snapshot; zero for a function that is no longer there.
    pub fn now(&self) -> Counts {
        self.now
    }

    /// Growth of the live blocks; negative when they became fewer.
    pub fn live_blocks(&self) -> i64 {
        self.change.live_blocks()
    }

    /// Growth of the live bytes; negative when they became fewer.
    pub fn live_bytes(&self) -> i64 {
        self.change.live_bytes()
    }
}

/// What changed between two snapshots of one process. `Display` prints it as a table.
///
/// The table shows the 20 functions that grew most and adds up the others, those whose live numbers
/// did not change in a line of their own; `{:#}` shows all. Pseudo-rows follow the functions,
/// heaptally itself last. Functions are matched by kind and text; one that only the later snapshot
/// has counts from zero.
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
}

impl Diff {
    pub(crate) fn new(earlier: &Snapshot, later: &Snapshot) -> Self {
        let (earlier_rows, later_rows) = (earlier.by_function(), later.by_function());
        let mut unmatched: HashMap<(SiteKind, &str), &Row> =
            earlier_rows.iter().map(|row| ((row.kind(), row.function()), row)).collect();
        let mut rows = Vec::new();
        let mut push = |row: &Row, before: Counts, now: Counts| {
            if before != now {
                rows.push(DiffRow { owner: Arc::clone(row.owner()), change: now - before, now, kind: row.kind() });
            }
        };
        for row in &later_rows {
            let before = unmatched.remove(&(row.kind(), row.function()));
            push(row, before.map_or(Counts::ZERO, Row::counts), row.counts());
        }
        for row in unmatched.values() {
            push(row, row.counts(), Counts::ZERO);
        }
        rows.sort_unstable_by(|a, b| {
            let key = |row: &DiffRow| {
                (Reverse(row.live_bytes()), Reverse(row.change.allocated_bytes.cast_signed()), row.kind)
            };
            key(a).cmp(&key(b)).then_with(|| a.function().cmp(b.function()))
        });
        Self {
            rows,
            totals: later.totals() - earlier.totals(),
            elapsed: later.elapsed().saturating_sub(earlier.elapsed()),
        }
    }

    /// The functions and pseudo-rows that allocated or freed, most growth of live bytes first.
    pub fn rows(&self) -> &[DiffRow] {
        &self.rows
    }

    /// The change of the counters of the whole process.
    pub fn totals(&self) -> Counts {
        self.totals
    }

    /// At most `n` functions whose live bytes grew, most growth first.
    pub fn grew(&self, n: usize) -> Vec<&DiffRow> {
        self.rows.iter().take_while(|row| row.live_bytes() > 0).take(n).collect()
    }

    /// The time between the two snapshots.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The program's change in one line, for a log: without heaptally itself.
    pub fn summary(&self) -> impl fmt::Display {
        Summary(self)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{counts, site, snapshot, snapshot_at};
    use crate::site::Site;

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
}
