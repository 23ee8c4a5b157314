//! What snapshots and differences have in common for an exporter: stacks with numbers.
//!
//! Borrowed from either, without a copy.

use std::sync::Arc;

use crate::counts::Counts;
use crate::diff::Diff;
use crate::site_kind::SiteKind;
use crate::snapshot::Snapshot;
use crate::stack::{NodeId, StackTables};

/// One stack and its counters, or how they changed.
#[derive(Clone, Copy)]
pub(super) struct Sample<'a> {
    /// What stands for the stack where it has no frames.
    pub(super) name: &'a str,
    pub(super) stack: Option<(&'a Arc<StackTables>, NodeId)>,
    pub(super) counts: Counts,
}

/// The sites that the totals contain and that have counted anything.
pub(super) fn of_snapshot(snapshot: &Snapshot) -> impl Iterator<Item = Sample<'_>> {
    let sites = snapshot.sites().iter().filter(|site| site.kind() != SiteKind::UnknownFrees);
    let samples = sites.map(|site| Sample { name: site.function(), stack: site.stack(), counts: site.counts() });
    samples.filter(|sample| !sample.counts.is_zero())
}

/// The rows that the totals contain: stacks, if the difference is by stack.
pub(super) fn of_diff(diff: &Diff) -> impl Iterator<Item = Sample<'_>> {
    let rows = diff.rows().iter().filter(|row| row.kind() != SiteKind::UnknownFrees);
    rows.map(|row| Sample { name: row.name(), stack: row.stack(), counts: row.change() })
}
