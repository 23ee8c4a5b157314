//! The heap over time, in a bounded number of bytes: a series of points that thins itself out as they age.
//!
//! Filled by the aggregator, on its thread; others get copies, which share the sites of the points. No clock: the time
//! is given with each point.
//!
//! ```text
//! oldest                                                                  newest
//! level 2: every 16th push      level 1: every 4th      level 0: every one
//! [ 0  16  32  48 ]             [ 64  68  72  76 ]      [ 77  78  79  80 ]   ◄─ push 81
//!     4 points                      4 points                 └► 77 leaves level 0. It is no multiple of 4, so it
//!                                                                goes, and 78 keeps its floors and peaks.
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::counts::Counts;
use crate::history_limits::{HistoryLimits, SHARED_HEADER_BYTES};
use crate::point::Point;
use crate::span::Span;
use crate::stack::NodeId;
use crate::tick_number::TickNumber;
use crate::tracked_sites::TrackedSites;

/// Levels of a history.
pub(crate) const LEVELS: usize = 9;

/// Points of a level for one of the next.
const THINNING: u64 = 4;

/// The heap over time: [points](Point), close together where they are new and further apart the older they are.
///
/// The newest points are all kept; older ones thin out to every 4th, every 16th and so on, so that they lie no further
/// apart than a [part of their age](HistoryLimits::points_per_level). What is beyond the last level is forgotten. A
/// point that goes leaves the [floors](crate::SitePoint::floor_bytes) and [peaks](crate::SitePoint::peak_bytes) of its
/// sites to the next one, so that no low and no high of a site is lost.
///
/// A point has at most [`HistoryLimits::sites`] sites. The half of these with most live bytes are in every point. The
/// other places are for those that the point before had and that hold something still, then for those with most live
/// bytes, then for those that the point before had and that hold nothing. So a site that is known stays known, unless
/// it is small and others are not.
///
/// Cloning copies the points, and shares their sites.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use heaptally_profile::{Counts, History, HistoryLimits, NodeId, TickNumber};
///
/// let mut history = History::new(HistoryLimits::DEFAULT);
/// for second in 0..10_000 {
///     let held = Counts { allocated_blocks: second, allocated_bytes: 100 * second, ..Counts::ZERO };
///     let sites = [(NodeId(7), held)];
///     history.push_counts(TickNumber::new(4 * second), Duration::from_secs(second), held, sites.into_iter());
/// }
/// let change = history.since(Duration::from_secs(3600)).unwrap();
/// assert_eq!(change.elapsed().as_secs(), 3599);
/// assert_eq!(change.sites().next().unwrap().1.live_bytes(), 359_900);
/// assert!(history.bytes() <= HistoryLimits::DEFAULT.most_bytes());
/// ```
#[derive(Clone)]
pub struct History {
    limits: HistoryLimits,
    /// Newest points first, by level; oldest first within one. Level `k` has points whose number is a multiple of
    /// `THINNING`^`k`.
    levels: [VecDeque<Point>; LEVELS],
    pushed: u64,
}

impl History {
    /// Without any point.
    pub const fn new(limits: HistoryLimits) -> Self {
        Self { limits, levels: [const { VecDeque::new() }; LEVELS], pushed: 0 }
    }

    /// Appends a point, with as many of its sites as the limits allow. One that is not later than the last is ignored.
    pub fn push(&mut self, point: &Point) {
        let sites = point.sites().iter().map(|site| (site.node, site.counts));
        self.append(point.tick(), point.elapsed(), point.program(), sites, point.is_complete());
    }

    /// Appends a point of these sites, with as many of them as the limits allow. One that is not later than the last is
    /// ignored. `program` are the counters of the process without those of heaptally itself.
    ///
    /// The sites are gone through twice, in any order, and may have several counts of one stack. Allocates as much as
    /// the limits allow, however many there are.
    pub fn push_counts<I>(&mut self, tick: TickNumber, elapsed: Duration, program: Counts, sites: I)
    where
        I: Iterator<Item = (NodeId, Counts)> + Clone,
    {
        self.append(tick, elapsed, program, sites, true);
    }

    fn append<I>(&mut self, tick: TickNumber, elapsed: Duration, program: Counts, sites: I, are_all: bool)
    where
        I: Iterator<Item = (NodeId, Counts)> + Clone,
    {
        let last = self.last();
        if last.is_some_and(|last| last.elapsed() >= elapsed) {
            return;
        }
        let mut tracked = TrackedSites::choose(sites, last.map_or(&[], Point::sites), self.limits.sites);
        tracked.are_all &= are_all;
        let point = Point::tracking(tracked, self.pushed, tick, elapsed, program);
        self.pushed += 1;
        self.keep(point);
    }

    /// Puts a point into the first level, and what that makes leave a level into the next.
    fn keep(&mut self, mut point: Point) {
        let room = self.limits.level_len();
        let mut step = 1;
        for level in &mut self.levels {
            if level.len() < room {
                if level.len() == level.capacity() {
                    // Doubles, but not beyond the bound.
                    level.reserve_exact(level.len().max(4).min(room - level.len()));
                }
                level.push_back(point);
                return;
            }
            let Some(oldest) = level.pop_front() else { return };
            level.push_back(point);
            step *= THINNING;
            if !oldest.number().is_multiple_of(step) {
                if let Some(next) = level.front_mut() {
                    next.absorb(&oldest);
                }
                return;
            }
            point = oldest;
        }
    }

    /// The points, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.levels.iter().rev().flatten()
    }

    /// The newest point.
    pub fn last(&self) -> Option<&Point> {
        self.iter().next_back()
    }

    /// The number of points.
    pub fn len(&self) -> usize {
        self.levels.iter().map(VecDeque::len).sum()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it was made with.
    pub fn limits(&self) -> HistoryLimits {
        self.limits
    }

    /// What changed from the point nearest to `ago` before the newest one, to that. How long that was really is in
    /// [`Span::elapsed`]. `None` without any point.
    pub fn since(&self, ago: Duration) -> Option<Span<'_>> {
        let to = self.last()?;
        let from = self.iter().min_by_key(|point| to.elapsed().saturating_sub(point.elapsed()).abs_diff(ago))?;
        Some(Span { from, to })
    }

    /// The bytes that it takes, in all its blocks; never more than [`HistoryLimits::most_bytes`]. A copy of the
    /// history, which has the same sites, counts them again.
    pub fn bytes(&self) -> usize {
        let points: usize = self.levels.iter().map(|level| level.capacity() * size_of::<Point>()).sum();
        let sites: usize = self.iter().map(|point| SHARED_HEADER_BYTES + size_of_val(point.sites())).sum();
        size_of::<Self>() + points + sites
    }
}

// Without the sites, of which there may be tens of thousands.
impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("limits", &self.limits).field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::counts;

    use super::*;

    const WEEK_SECS: u64 = 7 * 86_400;

    /// A history of a point each second, of sites that are told from the second.
    fn filled<const N: usize>(limits: HistoryLimits, seconds: u64, sites: impl Fn(u64) -> [u64; N]) -> History {
        let mut history = History::new(limits);
        for second in 0..seconds {
            push(&mut history, second, sites(second));
        }
        history
    }

    /// Site `i` has a block of `live_bytes[i]`; all blocks before it are freed.
    fn push<const N: usize>(history: &mut History, second: u64, live_bytes: [u64; N]) {
        let at = |bytes| counts(second + 1, 1_000_000 + bytes, second, 1_000_000);
        let sites = (1..).zip(live_bytes).map(|(node, bytes)| (NodeId(node), at(bytes)));
        let program = sites.clone().fold(Counts::ZERO, |sum, (_, counts)| sum + counts);
        history.push_counts(TickNumber::new(4 * second), Duration::from_secs(second), program, sites);
    }

    fn limits(points_per_level: usize, sites: usize) -> HistoryLimits {
        HistoryLimits { points_per_level, sites }
    }

    fn seconds(history: &History) -> Vec<u64> {
        history.iter().map(|point| point.elapsed().as_secs()).collect()
    }

    #[test]
    fn older_points_thin_out_to_every_fourth_and_every_sixteenth() {
        let mut history = filled(limits(4, 1), 81, |_| [1]);
        assert_eq!(seconds(&history), [0, 16, 32, 48, 64, 68, 72, 76, 77, 78, 79, 80]);
        push(&mut history, 81, [1]);
        assert_eq!(seconds(&history), [0, 16, 32, 48, 64, 68, 72, 76, 78, 79, 80, 81]);
        assert_eq!((history.len(), history.last().map(|point| point.elapsed().as_secs())), (12, Some(81)));
    }

    #[test]
    fn a_low_and_a_high_of_a_point_that_goes_are_kept_by_the_next() {
        let history = filled(limits(4, 1), 81, |second| {
            [if second == 70 {
                3
            } else if second == 71 {
                900
            } else {
                50
            }]
        });
        let bounds: Vec<(u64, u64, u64)> = history
            .iter()
            .map(|point| (point.elapsed().as_secs(), point.sites()[0].floor_bytes, point.sites()[0].peak_bytes))
            .collect();
        assert_eq!(bounds[3..8], [(48, 50, 50), (64, 50, 50), (68, 50, 50), (72, 3, 900), (76, 50, 50)]);
        assert_eq!(history.iter().nth(6).unwrap().sites()[0].counts.live_bytes(), 50);
    }

    /// The newest point is that of second 604,799. The one nearest to a day before is that of 518,144 = 506 × 1,024,
    /// since points of that age are 4^5 seconds apart: 86,655 seconds.
    #[test]
    fn a_week_of_seconds_stays_in_its_bytes_and_knows_yesterday() {
        let limits = limits(64, 3);
        let mut history = History::new(limits);
        for second in 0..WEEK_SECS {
            push(&mut history, second, [10 * second + 1, 70, second % 100 + 1]);
            if second % 1009 == 0 {
                assert!(history.bytes() <= limits.most_bytes(), "{} bytes", history.bytes());
            }
        }
        let times = seconds(&history);
        assert_eq!((times[0], times.len()), (0, 464));
        for two in times.windows(2) {
            let (gap, age) = (two[1] - two[0], WEEK_SECS - 1 - two[0]);
            assert!(gap == 1 || 16 * gap <= age, "{gap} s between points {age} s ago");
        }
        let yesterday = history.since(Duration::from_secs(86_400)).unwrap();
        assert_eq!((yesterday.from().elapsed().as_secs(), yesterday.elapsed().as_secs()), (518_144, 86_655));
        let change = |live_bytes: i64| (86_655, 86_655, live_bytes);
        let sites: Vec<_> = yesterday
            .sites()
            .map(|(_, change)| (change.allocated_blocks, change.freed_blocks, change.live_bytes()))
            .collect();
        // 604,799 % 100 = 99, and 518,144 % 100 = 44.
        assert_eq!(sites, [change(866_550), change(0), change(55)]);
        assert_eq!(yesterday.program().live_bytes(), 866_605);
    }

    /// Each of 200 sites is the largest in its turn, so that sites come and go at every point.
    #[test]
    fn points_with_all_the_sites_they_can_have_stay_in_their_bytes() {
        let limits = limits(4, 128);
        let mut history = History::new(limits);
        for second in 0..1500 {
            push(&mut history, second, std::array::from_fn::<_, 200, _>(|site| (second + 7 * site as u64) % 200));
            assert!(history.bytes() <= limits.most_bytes(), "{} bytes", history.bytes());
        }
        assert!(history.iter().all(|point| point.sites().len() == 128 && !point.is_complete()));
        // Five levels of nine are full, so more than half of the bytes are in use.
        assert!(history.len() > 20 && history.bytes() > limits.most_bytes() / 2);
    }

    #[test]
    fn a_full_history_takes_all_its_bytes_and_a_copy_no_more() {
        let limits = limits(2, 3);
        let mut history = filled(limits, 2 * 4_u64.pow(8), |_| [1, 2, 3]);
        assert_eq!((history.len(), history.bytes()), (18, limits.most_bytes()));
        let mut copy = history.clone();
        push(&mut copy, 1_000_000, [4, 5, 6]);
        assert_eq!(copy.bytes(), limits.most_bytes());
        assert_eq!(history.last().map(|point| point.elapsed().as_secs()), Some(2 * 4_u64.pow(8) - 1));
        push(&mut history, 1_000_001, [7]);
        assert!(history.bytes() < limits.most_bytes());
    }

    #[test]
    fn a_copy_does_not_see_what_is_absorbed_later() {
        let mut history = filled(limits(4, 1), 8, |second| [100 - second]);
        let copy = history.clone();
        for second in 8..100 {
            push(&mut history, second, [100 - second]);
        }
        assert_eq!(seconds(&copy), [0, 4, 5, 6, 7]);
        assert!(copy.iter().all(|point| point.sites()[0].floor_bytes == 100 - point.elapsed().as_secs()));
    }

    #[test]
    fn points_that_are_not_later_are_ignored() {
        let mut history = filled(limits(4, 1), 3, |_| [1]);
        push(&mut history, 2, [5]);
        push(&mut history, 1, [5]);
        assert_eq!(seconds(&history), [0, 1, 2]);
        assert_eq!(history.last().unwrap().sites()[0].counts.live_bytes(), 1);
    }

    #[test]
    fn the_nearest_point_is_found_however_long_ago() {
        let history = filled(limits(4, 1), 8, |second| [second + 1]);
        assert_eq!(seconds(&history), [0, 4, 5, 6, 7]);
        let since = |ago| history.since(Duration::from_secs(ago)).map(|span| span.elapsed().as_secs());
        assert_eq!([since(0), since(1), since(5), since(6), since(900)], [0, 1, 7, 7, 7].map(Some));
        assert!(History::new(limits(4, 1)).since(Duration::ZERO).is_none());
    }

    #[test]
    fn a_point_without_all_sites_is_incomplete() {
        let mut history = filled(limits(4, 2), 1, |_| [5, 6]);
        assert!(history.last().unwrap().is_complete());
        push(&mut history, 1, [5, 6, 7]);
        assert!(!history.last().unwrap().is_complete());
        let partial = history.last().unwrap().clone();
        let mut other = History::new(limits(4, 8));
        other.push(&partial);
        assert_eq!((other.last().unwrap().sites().len(), other.last().unwrap().is_complete()), (2, false));
    }
}
