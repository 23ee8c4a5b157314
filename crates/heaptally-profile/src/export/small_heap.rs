//! A snapshot small enough to be added up by hand, for the unit tests of the exporters that write text.

use std::sync::Arc;
use std::time::Duration;

use crate::fixtures::{counts, snapshot_at};
use crate::{
    ChunkedBuilder, Counts, Frame, Lifetimes, Line, Location, Mapping, NodeId, Owner, Site, SiteKind, Snapshot,
    StackNode, StackTables,
};

fn line(function: &str, place: Option<(&str, u32)>) -> Line {
    let file = place.map(|(file, _)| file.into());
    Line { function: function.into(), file, line: place.map(|(_, line)| line) }
}

/// Two stacks of one function that differ in the allocator only, one without names that holds nothing, and three rows
/// without stacks. Taken 2.5 s after start, in tick 10. The totals are 12 blocks and 878 bytes allocated, 5 blocks and 320 bytes
/// freed: 7 blocks and 558 bytes live.
pub(super) fn small_heap() -> Snapshot {
    let library = Arc::new(Mapping {
        path: "/lib/libz.so.1".to_owned(),
        build_id: None,
        start: 0x7f00_0000_0000,
        segments: Vec::new(),
    });
    let put = line("app::cache::put::<[u8; 4]>", Some(("src/cache.rs", 9)));
    let fill = line("app::cache::Cache::fill", Some(("src/cache.rs", 20)));
    let mut frames = ChunkedBuilder::new();
    let [main, cache, alloc, realloc, inflate, unknown] = [
        (0x1000, None, vec![line("app::main", Some(("src/main.rs", 3)))]),
        (0x2000, None, vec![put, fill]),
        (0x3000, None, vec![line("__rustc::__rust_alloc", None)]),
        (0x3100, None, vec![line("__rustc::__rust_realloc", None)]),
        (0x7f00_0000_1234, Some(library), vec![]),
        (0xdead, None, vec![]),
    ]
    .map(|(ip, mapping, lines)| frames.push(Frame { ip, mapping, lines: lines.into() }));

    let mut nodes = ChunkedBuilder::new();
    let leaves = [[main, cache, alloc], [main, cache, realloc], [main, inflate, unknown]].map(|stack| {
        stack
            .into_iter()
            .fold(NodeId::ROOT, |parent, frame| NodeId::from_index(nodes.push(StackNode { parent, frame })))
    });
    let tables = Arc::new(StackTables { nodes: nodes.freeze(), frames: frames.freeze() });

    let location = Some(Location { file: "src/cache.rs".into(), line: Some(9) });
    let put = Arc::new(Owner { function: "app::cache::put<K, V>".into(), module: Some("app".into()), location });
    let other = Arc::new(Owner { function: "(other: z)".into(), module: None, location: None });
    let site = |kind, owner: &Arc<Owner>, stack: usize, counts: Counts| {
        Site::new(kind, Arc::clone(owner), Some((Arc::clone(&tables), leaves[stack])), counts)
    };
    // Of the first: born in the ticks 2, 2 and 4, of which one of 2 was freed after one tick.
    let lifetimes =
        Lifetimes { allocated_births: 8, freed_births: 2, temporaries: 1, freed_by_age: [0, 1, 0, 0, 0, 0] };
    let sites = vec![
        site(SiteKind::Module, &put, 0, counts(3, 300, 1, 100)).with_lifetimes(lifetimes),
        site(SiteKind::Module, &put, 1, counts(1, 50, 0, 0))
            .with_lifetimes(Lifetimes { allocated_births: 6, ..Lifetimes::ZERO }),
        site(SiteKind::Other, &other, 2, counts(2, 20, 2, 20)),
        Site::pseudo(SiteKind::Paused, counts(1, 8, 0, 0)),
        Site::pseudo(SiteKind::Internal, counts(5, 500, 2, 200)),
        Site::pseudo(SiteKind::UnknownFrees, counts(0, 0, 1, 7)),
    ];
    snapshot_at(Duration::from_millis(2500), sites)
}
