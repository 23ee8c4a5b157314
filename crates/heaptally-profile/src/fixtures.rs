//! Small values for the unit tests of this crate.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    ChunkedBuilder, Counts, Frame, Line, Location, NodeId, Owner, Site, SiteKind, Snapshot, SnapshotParts, StackNode,
    StackTables, TickNumber,
};

pub(crate) fn counts(allocated_blocks: u64, allocated_bytes: u64, freed_blocks: u64, freed_bytes: u64) -> Counts {
    Counts { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes }
}

/// A site of the module `app` without a stack or a place.
pub(crate) fn site(function: &str, counts: Counts) -> Site {
    let owner = Owner { function: function.into(), module: Some("app".into()), location: None };
    Site::new(SiteKind::Module, Arc::new(owner), None, counts)
}

/// A site of the module `app` in the file `/home/me/app/src/main.rs`.
pub(crate) fn site_at(function: &str, node: u32, line: u32, counts: Counts) -> Site {
    let location = Some(Location { file: "/home/me/app/src/main.rs".into(), line: Some(line) });
    let owner = Owner { function: function.into(), module: Some("app".into()), location };
    Site::new(SiteKind::Module, Arc::new(owner), Some((Arc::default(), NodeId(node))), counts)
}

/// A site of the module `app` in the first line of the given file.
pub(crate) fn site_in(file: &str, function: &str, counts: Counts) -> Site {
    let location = Some(Location { file: file.into(), line: Some(1) });
    let owner = Owner { function: function.into(), module: Some("app".into()), location };
    Site::new(SiteKind::Module, Arc::new(owner), None, counts)
}

/// A snapshot of a quiet moment: totals are the sums of the sites, and the tick is that of the time.
pub(crate) fn snapshot_at(elapsed: Duration, sites: Vec<Site>) -> Snapshot {
    let known = sites.iter().filter(|site| site.kind() != SiteKind::UnknownFrees);
    let totals = known.fold(Counts::ZERO, |sum, site| sum + site.counts()).into();
    Snapshot::from_parts(SnapshotParts {
        totals,
        totals_before: Some(totals),
        sites,
        elapsed,
        tick: TickNumber::new((elapsed.as_millis() / TickNumber::LENGTH.as_millis()) as u64),
        ..SnapshotParts::default()
    })
}

pub(crate) fn snapshot(sites: Vec<Site>) -> Snapshot {
    snapshot_at(Duration::ZERO, sites)
}

/// One stack of the given functions, outermost first; the frame at index `i` has address `i`.
pub(crate) fn stack_tables(functions: &[&str]) -> (Arc<StackTables>, NodeId) {
    let (mut nodes, mut frames) = (ChunkedBuilder::new(), ChunkedBuilder::new());
    let mut leaf = NodeId::ROOT;
    for (ip, function) in (0..).zip(functions) {
        let line = Line { function: Arc::from(*function), file: None, line: None };
        let frame = frames.push(Frame { ip, mapping: None, lines: [line].into() });
        leaf = NodeId::from_index(nodes.push(StackNode { parent: leaf, frame }));
    }
    (Arc::new(StackTables { nodes: nodes.freeze(), frames: frames.freeze() }), leaf)
}

/// Tables with exactly these nodes (parent, frame); the frame at index `i` has address `i` and no
/// symbol.
pub(crate) fn stack_tables_of(nodes: &[(u32, u32)]) -> StackTables {
    let (mut tree, mut frames) = (ChunkedBuilder::new(), ChunkedBuilder::new());
    for &(parent, frame) in nodes {
        tree.push(StackNode { parent: NodeId(parent), frame });
        frames.push(Frame { ip: u64::from(frame), mapping: None, lines: [].into() });
    }
    StackTables { nodes: tree.freeze(), frames: frames.freeze() }
}
