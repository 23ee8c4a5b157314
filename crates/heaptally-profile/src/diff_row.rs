//! One row of a difference: what changed in a function, or in whatever else the sites are added up by.
//!
//! Made by `diff`, read on any thread. It holds the row of the later snapshot, or the last that was known of it, and
//! what it counted before; neither snapshot.

#[cfg(feature = "pprof")]
use std::sync::Arc;

use crate::counts::Counts;
use crate::frame::Frame;
use crate::row::Row;
use crate::site::Location;
use crate::site_kind::SiteKind;
#[cfg(feature = "pprof")]
use crate::stack::{NodeId, StackTables};

/// Whether a row of a [`Diff`](crate::Diff) is there at both of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Nothing was allocated or freed in it before the earlier snapshot.
    New,
    /// It held blocks at the earlier snapshot and holds none at the later one. Also a row that the later snapshot does
    /// not have: its sites were charged to others meanwhile, because the modules were changed or symbols became known.
    Vanished,
    /// All other rows.
    Stayed,
}

/// The change of one function, or of whatever else the sites are added up by, or of one pseudo-row.
#[derive(Clone, Debug)]
pub struct DiffRow {
    /// Its counters are those at the later snapshot.
    row: Row,
    before: Counts,
}

impl DiffRow {
    /// A row with its counters at the later snapshot, and those at the earlier one.
    pub(crate) fn new(row: Row, before: Counts) -> Self {
        Self { row, before }
    }

    /// Whether the row is code or a pseudo-row.
    pub fn kind(&self) -> SiteKind {
        self.row.kind()
    }

    /// What the row adds up, as [`Row::name`] gives it.
    pub fn name(&self) -> &str {
        self.row.name()
    }

    /// The path of the function, or the name of the pseudo-row, as [`Row::function`] gives it.
    pub fn function(&self) -> &str {
        self.row.function()
    }

    /// The configured module that the function belongs to.
    pub fn module(&self) -> Option<&str> {
        self.row.module()
    }

    /// The place in the function, as [`Row::location`] gives it.
    pub fn location(&self) -> Option<&Location> {
        self.row.location()
    }

    /// The call stack, as [`Row::frames`] gives it.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.row.frames()
    }

    /// What was allocated and freed between the two snapshots.
    ///
    /// Allocated and freed numbers can be less than before only when sites were charged to other
    /// functions meanwhile, because the modules were changed or symbols became known; they are then
    /// two's complement.
    pub fn change(&self) -> Counts {
        self.now() - self.before
    }

    /// The counters at the later snapshot; zero for a row that is no longer there.
    pub fn now(&self) -> Counts {
        self.row.counts()
    }

    /// Whether the row is new, has vanished, or neither.
    ///
    /// # Examples
    ///
    /// ```
    /// use heaptally_profile::Fate;
    /// # use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
    /// # let snapshot = |sites| Snapshot::from_parts(SnapshotParts { sites, ..SnapshotParts::default() });
    /// # let counts = Counts { allocated_blocks: 1, allocated_bytes: 8, ..Counts::ZERO };
    /// # let (earlier, later) = (snapshot(vec![]), snapshot(vec![Site::pseudo(SiteKind::Paused, counts)]));
    /// let diff = later.since(&earlier);
    /// assert_eq!(diff.rows()[0].fate(), Fate::New);
    /// ```
    pub fn fate(&self) -> Fate {
        let now = self.now();
        if self.before.is_zero() {
            Fate::New
        } else if now.is_zero() || (self.before.live_blocks() > 0 && now.live_blocks() == 0) {
            Fate::Vanished
        } else {
            Fate::Stayed
        }
    }

    /// Growth of the live blocks; negative when they became fewer.
    pub fn live_blocks(&self) -> i64 {
        self.change().live_blocks()
    }

    /// Growth of the live bytes; negative when they became fewer.
    pub fn live_bytes(&self) -> i64 {
        self.change().live_bytes()
    }

    #[cfg(feature = "pprof")]
    pub(crate) fn stack(&self) -> Option<(&Arc<StackTables>, NodeId)> {
        self.row.stack()
    }

    /// What tells rows with equal changes apart.
    pub(crate) fn identity(&self) -> impl Ord {
        self.row.identity()
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{counts, site, snapshot};

    use super::*;

    /// The fate of a function with these counters in the earlier and in the later snapshot.
    fn fate(before: Option<Counts>, now: Option<Counts>) -> Fate {
        let [earlier, later] =
            [before, now].map(|counts| snapshot(counts.map(|counts| site("app::f", counts)).into_iter().collect()));
        let diff = later.since(&earlier);
        assert_eq!(diff.rows().len(), 1);
        diff.rows()[0].fate()
    }

    #[test]
    fn a_row_is_new_when_nothing_was_counted_in_it_before() {
        assert_eq!(fate(None, Some(counts(1, 8, 0, 0))), Fate::New);
        assert_eq!(fate(None, Some(counts(1, 8, 1, 8))), Fate::New);
        assert_eq!(fate(Some(Counts::ZERO), Some(counts(1, 8, 0, 0))), Fate::New);
    }

    #[test]
    fn a_row_has_vanished_when_its_last_block_was_freed() {
        assert_eq!(fate(Some(counts(2, 16, 1, 8)), Some(counts(2, 16, 2, 16))), Fate::Vanished);
        assert_eq!(fate(Some(counts(2, 16, 1, 8)), Some(counts(9, 72, 9, 72))), Fate::Vanished);
    }

    #[test]
    fn a_row_has_vanished_when_the_later_snapshot_does_not_have_it() {
        assert_eq!(fate(Some(counts(2, 16, 1, 8)), None), Fate::Vanished);
        assert_eq!(fate(Some(counts(2, 16, 2, 16)), None), Fate::Vanished);
    }

    #[test]
    fn a_row_that_holds_blocks_or_held_none_before_stayed() {
        assert_eq!(fate(Some(counts(2, 16, 1, 8)), Some(counts(3, 24, 1, 8))), Fate::Stayed);
        assert_eq!(fate(Some(counts(2, 16, 2, 16)), Some(counts(3, 24, 2, 16))), Fate::Stayed);
        assert_eq!(fate(Some(counts(2, 16, 2, 16)), Some(counts(3, 24, 3, 24))), Fate::Stayed);
        // A block of no bytes is a block.
        assert_eq!(fate(Some(counts(2, 8, 0, 0)), Some(counts(2, 8, 1, 8))), Fate::Stayed);
    }
}
