//! What a `realloc` counts, by hand: a free of the old block and an allocation of the new one, or nothing.
#![cfg(not(heaptally_portable))]

use std::alloc::{GlobalAlloc, Layout};

use heaptally::{Counts, SiteKind, Snapshot};
use heaptally_tests::{Block, Refused, Watched, assert_conserved, assert_exact, refusing, watched};

#[global_allocator]
static ALLOC: Watched = watched();

#[test]
fn a_realloc_is_a_free_and_an_allocation_or_nothing() {
    counts_of_the_thread();
    sizes_that_cannot_be();
    assert_exact("before the start");
    let mut early = born_early();

    heaptally::start(heaptally::config!()).expect("installed");
    counts_of_the_thread();
    sizes_that_cannot_be();
    assert_exact("tracking");

    rows(&mut early);
    drop(early);
    assert_exact("rows");
}

fn counts_of_the_thread() {
    let mut block = Block::new(100, 8);
    let change =
        |allocated_bytes, freed_bytes| Counts { allocated_blocks: 1, allocated_bytes, freed_blocks: 1, freed_bytes };
    // Blocks of 256 bytes and more are large: their tags are elsewhere. 255 bytes and a tag are more than 256.
    let sizes = [1000, 1_000_000, 10, 20, 255, 256, 255, 4096, 263, 1, 300];
    let mut size = 100;
    for new_size in sizes {
        assert_eq!(heaptally::measure(|| refusing(|| block.resize(new_size))), (Err(Refused), Counts::ZERO));
        assert_eq!(heaptally::measure(|| block.resize(new_size)), (Ok(()), change(new_size as u64, size as u64)));
        size = new_size;
    }
    let freed = Counts { freed_blocks: 1, freed_bytes: 300, ..Counts::ZERO };
    assert_eq!(heaptally::measure(|| drop(block)), ((), freed));
}

/// More than there are addresses, and more than leaves room for a tag: refused, counted nowhere, and the block is as
/// it was.
fn sizes_that_cannot_be() {
    let mut block = Block::new(100, 8);
    for size in [1 << 47, (1 << 61) - 1, 1 << 61, isize::MAX as usize - 7] {
        let layout = Layout::from_size_align(size, 8).expect("a valid layout");
        // SAFETY: not of zero size.
        let none = || unsafe { ALLOC.alloc(layout).is_null() && ALLOC.alloc_zeroed(layout).is_null() };
        assert_eq!(heaptally::measure(none), (true, Counts::ZERO), "{size}");
        assert_eq!(heaptally::measure(|| block.resize(size)), (Err(Refused), Counts::ZERO), "{size}");
    }
    assert_eq!(block.size(), 100);
}

/// The new block belongs to who asked for it, the old one leaves its row; before the start or after it.
fn rows(early: &mut Block) {
    let before = assert_conserved("rows");
    early.resize(700).expect("memory");
    let mut block = born();
    grown(&mut block);
    assert_eq!(refusing(|| block.resize(9000)), Err(Refused));
    let after = assert_conserved("rows");

    let [early_before, early_after] = [&before, &after].map(|snapshot| row(snapshot, "(before start)").freed_bytes);
    // Nobody else frees what was there before the start, except the harness, which has smaller things to do.
    assert!(early_after - early_before >= 600, "{early_before} then {early_after}");
    let counts = |allocated_bytes, freed_blocks, freed_bytes| Counts {
        allocated_blocks: 1,
        allocated_bytes,
        freed_blocks,
        freed_bytes,
    };
    assert_eq!(row(&after, "realloc::born"), counts(300, 1, 300));
    assert_eq!(row(&after, "realloc::grown"), counts(4000, 0, 0));
    assert_eq!(row(&after, "realloc::rows"), counts(700, 0, 0));
    assert!(after.sites().iter().all(|site| site.kind() != SiteKind::UnknownFrees));
}

#[inline(never)]
fn born_early() -> Block {
    Block::new(600, 8)
}

#[inline(never)]
fn born() -> Block {
    Block::new(300, 8)
}

#[inline(never)]
fn grown(block: &mut Block) {
    block.resize(4000).expect("memory");
}

fn row(snapshot: &Snapshot, function: &str) -> Counts {
    snapshot.function(function).map_or(Counts::ZERO, |row| row.counts())
}
