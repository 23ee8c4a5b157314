//! One moment of a history: the program's totals, and the counters of some sites.
//!
//! Made by the aggregator at each push, or from a snapshot; read on any thread. The sites are shared by all copies of a
//! point. Which sites are in it is decided in `tracked_sites`, which points are kept in `history`.

use std::sync::Arc;
use std::time::Duration;

use crate::counts::Counts;
use crate::snapshot::Snapshot;
use crate::stack::NodeId;
use crate::tick_number::TickNumber;
use crate::tracked_sites::TrackedSites;

/// What a site had counted at a [`Point`], and between what bounds it moved before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SitePoint {
    /// The leaf of its stack, as [`Site::node`](crate::Site::node) gives it.
    pub node: NodeId,
    /// Its counters since the process began.
    pub counts: Counts,
    /// The least of its live bytes at this point and at those pushed after the kept point before this one; zero if one
    /// of them did not have the site.
    pub floor_bytes: u64,
    /// The most of its live bytes at those of the same points that had the site.
    pub peak_bytes: u64,
}

impl SitePoint {
    pub(crate) fn new(node: NodeId, counts: Counts) -> Self {
        let live_bytes = counts.live_bytes().max(0).unsigned_abs();
        Self { node, counts, floor_bytes: live_bytes, peak_bytes: live_bytes }
    }
}

/// One moment of a [`History`](crate::History). Cloning copies the totals and one pointer.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use heaptally_profile::{Counts, NodeId, Point, TickNumber};
///
/// let counts = Counts { allocated_blocks: 2, allocated_bytes: 64, ..Counts::ZERO };
/// let point = Point::new(TickNumber::new(8), Duration::from_secs(2), counts, [(NodeId(7), counts)]);
/// assert_eq!(point.site(NodeId(7)).unwrap().counts.live_bytes(), 64);
/// assert!(point.is_complete());
/// ```
#[derive(Clone, Debug)]
pub struct Point {
    elapsed: Duration,
    program: Counts,
    /// By node, each once.
    sites: Arc<[SitePoint]>,
    /// How many were pushed to its history before it.
    number: u64,
    tick: TickNumber,
    is_complete: bool,
}

impl Point {
    /// A point with all of these sites that hold anything. Several counts of one node are added up.
    pub fn new(
        tick: TickNumber,
        elapsed: Duration,
        program: Counts,
        sites: impl IntoIterator<Item = (NodeId, Counts)>,
    ) -> Self {
        let sites: Vec<(NodeId, Counts)> = sites.into_iter().collect();
        let all = TrackedSites::choose(sites.iter().copied(), &[], usize::MAX);
        Self::tracking(all, 0, tick, elapsed, program)
    }

    /// The point of a snapshot, with the `sites` call stacks that have most live bytes. Pseudo-rows, which have no
    /// stack, are in the totals alone.
    ///
    /// ```
    /// # use heaptally_profile::{History, HistoryLimits, Point, Snapshot, SnapshotParts};
    /// # let snapshot = Snapshot::from_parts(SnapshotParts::default());
    /// let mut history = History::new(HistoryLimits::DEFAULT);
    /// history.push(&Point::of(&snapshot, HistoryLimits::DEFAULT.sites));
    /// assert_eq!(history.len(), 1);
    /// ```
    pub fn of(snapshot: &Snapshot, sites: usize) -> Self {
        let stacks = snapshot.sites().iter().filter_map(|site| Some((site.node()?, site.counts())));
        let largest = TrackedSites::choose(stacks, &[], sites);
        Self::tracking(largest, 0, snapshot.tick(), snapshot.elapsed(), snapshot.program())
    }

    pub(crate) fn tracking(
        tracked: TrackedSites,
        number: u64,
        tick: TickNumber,
        elapsed: Duration,
        program: Counts,
    ) -> Self {
        let sites = tracked.sites.into_iter().map(|(node, counts)| SitePoint::new(node, counts)).collect();
        Self { elapsed, program, sites, number, tick, is_complete: tracked.are_all }
    }

    /// Time from the start of tracking to this point.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The tick in which the counters were read.
    pub fn tick(&self) -> TickNumber {
        self.tick
    }

    /// The counters of the process, without those of heaptally itself.
    pub fn program(&self) -> Counts {
        self.program
    }

    /// The sites that the point knows, by node.
    pub fn sites(&self) -> &[SitePoint] {
        &self.sites
    }

    /// The site of this stack; `None` when the point does not know it. If the point [is complete](Point::is_complete),
    /// such a site held nothing.
    pub fn site(&self, node: NodeId) -> Option<&SitePoint> {
        let index = self.sites.binary_search_by_key(&node, |site| site.node).ok()?;
        Some(&self.sites[index])
    }

    /// Whether every site that held anything is among its sites.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Keeps the floors and peaks of the point before this one, which is about to be dropped.
    pub(crate) fn absorb(&mut self, older: &Self) {
        // Copies the sites only when a copy of the history has them too.
        for site in Arc::make_mut(&mut self.sites) {
            match older.site(site.node) {
                Some(before) => {
                    site.floor_bytes = site.floor_bytes.min(before.floor_bytes);
                    site.peak_bytes = site.peak_bytes.max(before.peak_bytes);
                }
                // Nothing, or not known: then the least it can have been.
                None => site.floor_bytes = 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{counts, site_at, snapshot};
    use crate::site::Site;
    use crate::site_kind::SiteKind;

    use super::*;

    fn point(sites: &[(u32, u64)]) -> Point {
        let sites = sites.iter().map(|&(node, bytes)| (NodeId(node), counts(1, bytes, 0, 0)));
        Point::new(TickNumber::ZERO, Duration::ZERO, Counts::ZERO, sites)
    }

    fn bounds(point: &Point, node: u32) -> (u64, u64) {
        let site = point.site(NodeId(node)).unwrap();
        (site.floor_bytes, site.peak_bytes)
    }

    #[test]
    fn a_site_of_a_point_is_56_bytes_and_the_rest_80() {
        assert_eq!((size_of::<SitePoint>(), size_of::<Point>()), (56, 80));
    }

    #[test]
    fn counts_of_one_node_are_added_up() {
        let sites =
            [(NodeId(4), counts(3, 30, 1, 10)), (NodeId(2), counts(1, 8, 0, 0)), (NodeId(4), counts(2, 20, 0, 0))];
        let point = Point::new(TickNumber::ZERO, Duration::ZERO, Counts::ZERO, sites);
        assert_eq!(point.sites().iter().map(|site| site.node.0).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(point.site(NodeId(4)).map(|site| site.counts), Some(counts(5, 50, 1, 10)));
        assert_eq!(bounds(&point, 4), (40, 40));
        assert!(point.site(NodeId(3)).is_none());
    }

    #[test]
    fn a_point_that_goes_leaves_its_bounds_to_the_next() {
        let mut newer = point(&[(1, 50), (2, 50), (3, 50)]);
        newer.absorb(&point(&[(1, 80), (2, 20)]));
        assert_eq!((bounds(&newer, 1), bounds(&newer, 2), bounds(&newer, 3)), ((50, 80), (20, 50), (0, 50)));
        let copy = newer.clone();
        newer.absorb(&point(&[(1, 90), (2, 10), (3, 60)]));
        assert_eq!((bounds(&newer, 1), bounds(&newer, 2), bounds(&newer, 3)), ((50, 90), (10, 50), (0, 60)));
        assert_eq!(bounds(&copy, 1), (50, 80));
        assert_eq!(newer.site(NodeId(2)).unwrap().counts.live_bytes(), 50);
    }

    /// heaptally's own 1,000 bytes are in the totals of the process and not in those of the program.
    #[test]
    fn the_point_of_a_snapshot_has_its_largest_stacks_and_the_program() {
        let snapshot = snapshot(vec![
            site_at("app::small", 1, 10, counts(1, 5, 0, 0)),
            site_at("app::large", 2, 20, counts(4, 400, 1, 100)),
            site_at("app::gone", 3, 30, counts(1, 9, 1, 9)),
            Site::pseudo(SiteKind::BeforeStart, counts(1, 100, 0, 0)),
            Site::pseudo(SiteKind::Internal, counts(1, 1000, 0, 0)),
        ]);
        let one = Point::of(&snapshot, 1);
        assert_eq!(one.program(), counts(7, 514, 2, 109));
        assert_eq!(one.sites().iter().map(|site| site.node.0).collect::<Vec<_>>(), [2]);
        assert!(!one.is_complete());
        let two = Point::of(&snapshot, 2);
        assert_eq!((two.sites().len(), two.is_complete()), (2, true));
    }
}
