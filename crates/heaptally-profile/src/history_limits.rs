//! How much a history keeps.
//!
//! Plain numbers, and what they come to in bytes.

use crate::history::{History, LEVELS};
use crate::point::{Point, SitePoint};

/// The two counters that lie before the sites of a point.
pub(crate) const SHARED_HEADER_BYTES: usize = 2 * size_of::<usize>();

/// How much a [`History`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Points of each of the nine levels, two at least. Points lie no further apart than four times their age, divided
    /// by this, and no closer than they are pushed.
    pub points_per_level: usize,
    /// Sites in one point.
    pub sites: usize,
}

impl HistoryLimits {
    /// 64 points a level, which lie no further apart than a sixteenth of their age, with 128 sites each: 64 days of
    /// points pushed once a second, in 4.2 MB at most.
    pub const DEFAULT: Self = Self { points_per_level: 64, sites: 128 };

    /// The most bytes that a history of these limits takes, in all its blocks.
    ///
    /// ```
    /// assert_eq!(heaptally_profile::HistoryLimits::DEFAULT.most_bytes(), 4_184_376);
    /// ```
    pub const fn most_bytes(self) -> usize {
        let sites = self.sites.saturating_mul(size_of::<SitePoint>());
        let point = sites.saturating_add(size_of::<Point>() + SHARED_HEADER_BYTES);
        point.saturating_mul(self.level_len()).saturating_mul(LEVELS).saturating_add(size_of::<History>())
    }

    /// Points of a level.
    pub(crate) const fn level_len(self) -> usize {
        if self.points_per_level < 2 { 2 } else { self.points_per_level }
    }
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
