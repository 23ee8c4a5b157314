//! What changed from one point of a history to another.
//!
//! A pair of references and pure functions of it, for any thread.

use std::time::Duration;

use crate::counts::Counts;
use crate::point::Point;
use crate::stack::NodeId;

/// What changed from one [`Point`] to a later one. Made by [`History::since`](crate::History::since).
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    pub(crate) from: &'a Point,
    pub(crate) to: &'a Point,
}

impl<'a> Span<'a> {
    /// The earlier point.
    pub fn from(&self) -> &'a Point {
        self.from
    }

    /// The later point.
    pub fn to(&self) -> &'a Point {
        self.to
    }

    /// The time between the two.
    pub fn elapsed(&self) -> Duration {
        self.to.elapsed().saturating_sub(self.from.elapsed())
    }

    /// What the program allocated and freed between the two, without heaptally itself.
    pub fn program(&self) -> Counts {
        self.to.program() - self.from.program()
    }

    /// What each site that both points know allocated and freed between the two, by node.
    pub fn sites(&self) -> impl Iterator<Item = (NodeId, Counts)> + 'a {
        let to = self.to;
        self.from.sites().iter().filter_map(|site| Some((site.node, to.site(site.node)?.counts - site.counts)))
    }
}
