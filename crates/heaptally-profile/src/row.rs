//! Sites added up by function, and the orders in which rows are ranked.
//!
//! Pure functions of the sites of a snapshot, for any thread; they allocate.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::counts::Counts;
use crate::lifetimes::Lifetimes;
use crate::site::{Location, Owner, Site};
use crate::site_kind::SiteKind;

/// The sum of all sites that are charged to one function, or to one pseudo-row.
#[derive(Clone, Debug)]
pub struct Row {
    owner: Arc<Owner>,
    counts: Counts,
    lifetimes: Lifetimes,
    sites: u32,
    kind: SiteKind,
}

impl Row {
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

    /// The place of the site with the most live bytes; of several, the one that allocated most
    /// bytes.
    pub fn location(&self) -> Option<&Location> {
        self.owner.location.as_ref()
    }

    /// The sums of the counters of all its sites.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The sums of what is known of the ages of their blocks.
    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// How many sites (distinct call stacks) the row adds up.
    pub fn sites(&self) -> u32 {
        self.sites
    }

    pub(crate) fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }
}

/// What rows are ranked by, largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rank {
    /// Requested bytes in use now.
    LiveBytes,
    /// Blocks in use now.
    LiveBlocks,
    /// Bytes requested since the process began.
    AllocatedBytes,
    /// Blocks requested since the process began.
    AllocatedBlocks,
}

impl Rank {
    /// The number that is ranked; 128 bits hold both signed live and unsigned cumulative numbers.
    fn value(self, counts: Counts) -> i128 {
        match self {
            Self::LiveBytes => counts.live_bytes().into(),
            Self::LiveBlocks => counts.live_blocks().into(),
            Self::AllocatedBytes => counts.allocated_bytes.into(),
            Self::AllocatedBlocks => counts.allocated_blocks.into(),
        }
    }
}

/// Most live bytes first, then most allocated bytes, then by kind, name and stack: the same for the
/// same data.
pub(crate) fn sort_sites(sites: &mut [Site]) {
    sites.sort_unstable_by(|a, b| {
        let key =
            |site: &Site| (Reverse(site.counts().live_bytes()), Reverse(site.counts().allocated_bytes), site.kind());
        key(a).cmp(&key(b)).then_with(|| (a.function(), a.node()).cmp(&(b.function(), b.node())))
    });
}

/// Adds up sites, which [`sort_sites`] has sorted, by kind and function. Most live bytes first.
pub(crate) fn by_function<'a>(sites: impl IntoIterator<Item = &'a Site>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut index_of: HashMap<(SiteKind, &str), usize> = HashMap::new();
    for site in sites {
        let index = *index_of.entry((site.kind(), site.function())).or_insert_with(|| {
            // The first site of a row is the one with the most live bytes, so its owner tells the
            // row's place.
            rows.push(Row {
                owner: Arc::clone(site.owner()),
                counts: Counts::ZERO,
                lifetimes: Lifetimes::ZERO,
                sites: 0,
                kind: site.kind(),
            });
            rows.len() - 1
        });
        rows[index].counts += site.counts();
        rows[index].lifetimes += site.lifetimes();
        rows[index].sites += 1;
    }
    rows.sort_unstable_by(|a, b| {
        let key = |row: &Row| (Reverse(row.counts.live_bytes()), Reverse(row.counts.allocated_bytes), row.kind);
        key(a).cmp(&key(b)).then_with(|| a.function().cmp(b.function()))
    });
    rows
}

/// The first `n` rows by `rank`. Rows of one rank keep their order.
pub(crate) fn top(mut rows: Vec<Row>, n: usize, rank: Rank) -> Vec<Row> {
    rows.sort_by_key(|row| Reverse(rank.value(row.counts)));
    rows.truncate(n);
    rows
}
