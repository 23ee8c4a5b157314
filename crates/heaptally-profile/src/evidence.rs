//! What a history says of one row, added up over its sites: how it grew in each window, and what is left of each
//! moment.
//!
//! A pure function of a history, for any thread. Who is a suspect is decided in `suspects`.

use std::time::Duration;

use crate::counts::Counts;
use crate::point::{Point, SitePoint};
use crate::stack::NodeId;
use crate::window::{PARTS, Window};

/// Blocks that have been there for a while, at least so many. Made by
/// [`Suspect::surely_older_than`](crate::Suspect::surely_older_than).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elders {
    /// They are older than this.
    pub age: Duration,
    /// How many blocks, at least.
    pub blocks: u64,
    /// How many bytes, at least. Not always those of the `blocks`: each of the two is a bound by itself.
    pub bytes: u64,
}

/// A row in one window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Growth {
    /// The sum over the sites of the least live bytes of each, by part.
    pub(crate) floors: [u64; PARTS],
    /// The sum over the sites of the most live bytes of each before the window.
    pub(crate) peak_before_bytes: u64,
}

impl Growth {
    /// The least growth from one part to the next; zero when it did not grow each time.
    pub(crate) fn steady_bytes(&self) -> u64 {
        self.floors.windows(2).map(|two| two[1].saturating_sub(two[0])).min().unwrap_or(0)
    }
}

/// All points of a history up to a moment, and the windows in it that end at that moment.
pub(crate) struct Past<'a> {
    pub(crate) points: &'a [&'a Point],
    pub(crate) windows: &'a [Window],
    pub(crate) now: Duration,
}

impl Past<'_> {
    /// The site at each point; `None` where it is not known.
    fn series(&self, node: NodeId) -> Vec<Option<SitePoint>> {
        let nothing = SitePoint::new(node, Counts::ZERO);
        let at = |point: &&Point| point.site(node).copied().or(point.is_complete().then_some(nothing));
        self.points.iter().map(at).collect()
    }
}

/// See the module's head.
pub(crate) struct Evidence {
    /// By window.
    pub(crate) growths: Vec<Growth>,
    /// By point.
    pub(crate) elders: Vec<Elders>,
}

impl Evidence {
    /// Of no site.
    pub(crate) fn new(past: &Past<'_>) -> Self {
        let age = |point: &&Point| past.now.saturating_sub(point.elapsed());
        Self {
            growths: vec![Growth::default(); past.windows.len()],
            elders: past.points.iter().map(|point| Elders { age: age(point), blocks: 0, bytes: 0 }).collect(),
        }
    }

    /// Adds a site, whose counters now are `now`.
    pub(crate) fn add(&mut self, past: &Past<'_>, node: NodeId, now: Counts) {
        let series = past.series(node);
        for (growth, window) in self.growths.iter_mut().zip(past.windows) {
            let Some(mut floors) = window.floors(&series) else { continue };
            let last = &mut floors[PARTS - 1];
            *last = (*last).min(now.live_bytes().max(0).unsigned_abs());
            growth.floors.iter_mut().zip(floors).for_each(|(sum, floor)| *sum += floor);
            let before = series[..window.first].iter().flatten();
            growth.peak_before_bytes += before.map(|site| site.peak_bytes).max().unwrap_or(0);
        }
        for (elders, site) in self.elders.iter_mut().zip(series) {
            // What was not known had allocated nothing, as far as this can say.
            let then = site.map_or(Counts::ZERO, |site| site.counts);
            elders.blocks += then.allocated_blocks.saturating_sub(now.freed_blocks);
            elders.bytes += then.allocated_bytes.saturating_sub(now.freed_bytes);
        }
    }
}
