//! Sites added up by function, or by another grouping, and the orders in which rows are ranked.
//!
//! Pure functions of the sites of a snapshot, for any thread; they allocate.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::counts::Counts;
use crate::frame::Frame;
use crate::grouping::{Grouping, Key};
use crate::lifetimes::Lifetimes;
use crate::site::{Location, Owner, Site};
use crate::site_kind::SiteKind;
use crate::stack::{NodeId, StackTables};

/// The sum of all sites that are charged to one function, or to one pseudo-row; or of all that are
/// one row of another [`Grouping`].
#[derive(Clone, Debug)]
pub struct Row {
    name: Arc<str>,
    /// That of the site with the most live bytes.
    owner: Arc<Owner>,
    /// Only of a row that is one stack, so that no others keep the tables.
    stack: Option<(Arc<StackTables>, NodeId)>,
    counts: Counts,
    lifetimes: Lifetimes,
    sites: u32,
    kind: SiteKind,
}

impl Row {
    pub(crate) fn new(key: &Key<'_>, sum: &Sum<'_>) -> Self {
        let owner = sum.first.owner();
        let stack = sum.first.stack().filter(|_| matches!(key, Key::Stack(_)));
        Self {
            name: key.name(owner),
            owner: Arc::clone(owner),
            stack: stack.map(|(tables, leaf)| (Arc::clone(tables), leaf)),
            counts: sum.counts,
            lifetimes: sum.lifetimes,
            sites: sum.sites,
            kind: sum.first.kind(),
        }
    }

    /// Whether the row is code or a pseudo-row.
    pub fn kind(&self) -> SiteKind {
        self.kind
    }

    /// What the row adds up: the function, the module, the file or the `file:line` of its
    /// [`Grouping`], the function that a stack is charged to, or the name of the pseudo-row.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of the function, or the name of the pseudo-row. Of several functions in one row,
    /// the one of the site with the most live bytes, as for [`location`](Row::location).
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

    /// The call stack of a row of [`Grouping::Stack`], leaf first. Empty for pseudo-rows without one,
    /// and in other groupings, whose rows are many stacks.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.stack.iter().flat_map(|(tables, leaf)| tables.walk(*leaf))
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

    #[cfg(feature = "pprof")]
    pub(crate) fn stack(&self) -> Option<(&Arc<StackTables>, NodeId)> {
        self.stack.as_ref().map(|(tables, leaf)| (tables, *leaf))
    }

    /// What tells rows with equal counters apart.
    pub(crate) fn identity(&self) -> (SiteKind, &str, Option<NodeId>) {
        (self.kind, &self.name, self.stack.as_ref().map(|(_, leaf)| *leaf))
    }
}

/// What rows are ranked by, largest first. In a [`Diff`](crate::Diff), the growth of that number.
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
    pub(crate) fn value(self, counts: Counts) -> i128 {
        match self {
            Self::LiveBytes => counts.live_bytes().into(),
            Self::LiveBlocks => counts.live_blocks().into(),
            Self::AllocatedBytes => counts.allocated_bytes.into(),
            Self::AllocatedBlocks => counts.allocated_blocks.into(),
        }
    }

    /// The number that is ranked, of a change: negative where sites were charged to other rows.
    pub(crate) fn growth(self, change: Counts) -> i64 {
        match self {
            Self::LiveBytes => change.live_bytes(),
            Self::LiveBlocks => change.live_blocks(),
            Self::AllocatedBytes => change.allocated_bytes.cast_signed(),
            Self::AllocatedBlocks => change.allocated_blocks.cast_signed(),
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

/// What a [`Row`] is made from. Not one yet: most are equal in two snapshots, and then none is needed.
pub(crate) struct Sum<'a> {
    /// The one with the most live bytes, whose owner tells the row's place.
    first: &'a Site,
    pub(crate) counts: Counts,
    lifetimes: Lifetimes,
    sites: u32,
}

impl Sum<'_> {
    /// The same row with none of its sites left.
    pub(crate) fn emptied(self) -> Self {
        Self { counts: Counts::ZERO, lifetimes: Lifetimes::ZERO, sites: 0, ..self }
    }
}

/// Adds up sites, which [`sort_sites`] has sorted, by what they have in common.
pub(crate) fn add_up<'a>(sites: impl IntoIterator<Item = &'a Site>, grouping: Grouping) -> HashMap<Key<'a>, Sum<'a>> {
    let mut sums = HashMap::new();
    for site in sites {
        let sum = sums.entry(grouping.key(site)).or_insert(Sum {
            first: site,
            counts: Counts::ZERO,
            lifetimes: Lifetimes::ZERO,
            sites: 0,
        });
        sum.counts += site.counts();
        sum.lifetimes += site.lifetimes();
        sum.sites += 1;
    }
    sums
}

/// The rows of sites that [`sort_sites`] has sorted, most live bytes first.
pub(crate) fn rows<'a>(sites: impl IntoIterator<Item = &'a Site>, grouping: Grouping) -> Vec<Row> {
    let mut rows: Vec<Row> = add_up(sites, grouping).iter().map(|(key, sum)| Row::new(key, sum)).collect();
    rows.sort_unstable_by(|a, b| {
        let key = |row: &Row| (Reverse(row.counts.live_bytes()), Reverse(row.counts.allocated_bytes));
        key(a).cmp(&key(b)).then_with(|| a.identity().cmp(&b.identity()))
    });
    rows
}

/// The first `n` rows by `rank`. Rows of one rank keep their order.
pub(crate) fn top(mut rows: Vec<Row>, n: usize, rank: Rank) -> Vec<Row> {
    rows.sort_by_key(|row| Reverse(rank.value(row.counts)));
    rows.truncate(n);
    rows
}
