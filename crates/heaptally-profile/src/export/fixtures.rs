//! Snapshots that have something of everything.

use std::sync::Arc;
use std::time::Duration;

use crate::fixtures::counts;
use crate::{
    ChunkedBuilder, Counts, Frame, Lifetimes, Line, Location, Losses, Mapping, ModuleUse, NodeId, Owner, PeakBytes,
    Segment, Site, SiteKind, Snapshot, SnapshotParts, StackNode, StackTables, ThreadRow, TickNumber,
};

/// That two snapshots say the same, whatever they are asked.
#[cfg(feature = "json")]
#[track_caller]
pub(super) fn assert_same(left: &Snapshot, right: &Snapshot) {
    let numbers =
        |it: &Snapshot| (it.sequence(), it.elapsed(), it.tick(), it.totals(), it.is_quiet(), it.resident_bytes());
    assert_eq!(numbers(left), numbers(right));
    assert_eq!((left.peak(), left.losses(), left.overhead()), (right.peak(), right.losses(), right.overhead()));
    assert_eq!((left.captures(), left.symbols()), (right.captures(), right.symbols()));
    assert_eq!((left.modules(), left.notes(), left.threads()), (right.modules(), right.notes(), right.threads()));
    assert_eq!(left.parts().totals_before, right.parts().totals_before);
    let site = |site: &Site| (site.kind(), site.owner().clone(), site.node(), site.counts(), site.lifetimes());
    let sites = |it: &Snapshot| it.sites().iter().map(site).collect::<Vec<_>>();
    assert_eq!(sites(left), sites(right));
    for (left, right) in left.sites().iter().zip(right.sites()) {
        assert!(left.frames().eq(right.frames()), "{left:?}");
    }
    assert_eq!(format!("{left:#}"), format!("{right:#}"));
}

/// Two stacks of `main`, one with an inlined function; one stack without names; pseudo-rows; frees that are in no total.
///
/// ```text
/// app: main (0x1010) ─┬─► run (0x1020) ─► put (0x1031), into which grow was inlined
///                     └─► run (0x1020) ─► (0x7f0000002005, in libc, which has no names)
/// ```
pub(super) fn snapshot() -> Snapshot {
    snapshot_with(counts(10, 1000, 4, 400), Duration::from_millis(2500))
}

/// The same process later: 7 blocks more were allocated on the first stack, and 9 freed.
pub(super) fn later() -> Snapshot {
    snapshot_with(counts(17, 1700, 13, 1300), Duration::from_secs(10))
}

fn snapshot_with(grow: Counts, elapsed: Duration) -> Snapshot {
    let (tables, put, odd) = stacks();
    let owner = Owner {
        function: "app::cache::grow".into(),
        module: Some("app".into()),
        location: Some(Location { file: "src/cache.rs".into(), line: Some(42) }),
    };
    let other = Owner { function: "(other: libc)".into(), module: None, location: None };
    let lifetimes =
        Lifetimes { allocated_births: 77, freed_births: 33, temporaries: 2, freed_by_age: [3, 1, 0, 0, 0, 0] };
    let sites = vec![
        Site::new(SiteKind::Module, Arc::new(owner), Some((tables.clone(), put)), grow).with_lifetimes(lifetimes),
        Site::new(SiteKind::Other, Arc::new(other), Some((tables, odd)), counts(3, 96, 3, 96)),
        Site::pseudo(SiteKind::BeforeStart, counts(5, 50, 1, 10)),
        Site::pseudo(SiteKind::Internal, counts(2, 4096, 0, 0)),
        Site::pseudo(SiteKind::Paused, Counts::ZERO),
        Site::pseudo(SiteKind::UnknownFrees, counts(0, 0, 1, 8)),
    ];
    let totals = (grow + counts(10, 4242, 4, 106)).into();
    let modules = [ModuleUse { name: "app".into(), matched: true }, ModuleUse { name: "no".into(), matched: false }];
    Snapshot::from_parts(SnapshotParts {
        sequence: 3,
        totals,
        totals_before: Some(totals),
        sites,
        threads: vec![
            ThreadRow::of_thread(4711, "main".into(), counts(20, 5000, 8, 500)),
            ThreadRow::of_others(totals.counts() - counts(20, 5000, 8, 500)),
        ],
        losses: losses(),
        overhead: crate::Overhead { arena_bytes: 1 << 20, snapshot_ns: u64::MAX, ..crate::Overhead::default() },
        captures: crate::Captures { reused: 9, by_unwound: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], ..Default::default() },
        symbols: crate::SymbolQuality { addresses: 5, with_lines: 3, inlined_frames: true, ..Default::default() },
        resident_bytes: Some(12_345_678),
        modules: modules.into(),
        peak: Some(PeakBytes { live_bytes: 9999, error_bytes: 65_536 }),
        elapsed,
        tick: TickNumber::new(11),
        notes: vec!["the first note".into(), "a note with \"quotes\" and ünïcode".into()],
    })
}

fn losses() -> Losses {
    let mut losses = Losses { truncated_stacks: 2, ..Losses::default() };
    losses.unknown_frees.blocks = 1;
    losses.unknown_frees.bytes = 8;
    losses
}

/// The tables, and the leaves of the two stacks.
fn stacks() -> (Arc<StackTables>, NodeId, NodeId) {
    let segment = |start, offset| Segment { start, limit: start + 0x1000, offset };
    let mapping = |path: &str, build_id: Option<&str>, start, segments| {
        Some(Arc::new(Mapping { path: path.into(), build_id: build_id.map(str::to_owned), start, segments }))
    };
    let app = mapping("/opt/app", Some("00c0ffee"), 0x400, vec![segment(0x1000, 0xc00)]);
    let libc = mapping("/lib/libc.so.6", None, 0x7f00_0000_0000, vec![segment(0x7f00_0000_2000, 0x2000)]);
    let line = |function: &str, file: &str, line| Line {
        function: function.into(),
        file: Some(file.into()),
        line: Some(line),
    };
    let frame = |ip, mapping: &Option<Arc<Mapping>>, lines: &[Line]| Frame {
        ip,
        mapping: mapping.clone(),
        lines: lines.into(),
    };
    let bare = Line { function: "app::run".into(), file: None, line: None };
    let (mut frames, mut nodes) = (ChunkedBuilder::new(), ChunkedBuilder::new());
    for frame in [
        frame(0x1010, &app, &[line("app::main", "src/main.rs", 5)]),
        frame(0x1020, &app, &[bare]),
        frame(
            0x1031,
            &app,
            &[line("app::cache::grow", "src/cache.rs", 42), line("app::cache::put", "src/cache.rs", 50)],
        ),
        frame(0x7f00_0000_2005, &libc, &[]),
    ] {
        frames.push(frame);
    }
    for (parent, frame) in [(0, 0), (1, 1), (2, 2), (2, 3)] {
        nodes.push(StackNode { parent: NodeId(parent), frame });
    }
    (Arc::new(StackTables { nodes: nodes.freeze(), frames: frames.freeze() }), NodeId(3), NodeId(4))
}
