//! Large blocks for whose tags there is no memory, or that lie where the page map does not reach: served, counted in a
//! row of their own at both ends, and forgotten when they are gone.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/refusal.rs"]
mod refusal;
#[path = "common/regions.rs"]
mod regions;

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::thread;

use conserved::quiet_snapshot;
use heaptally::{Counts, SiteKind, Snapshot, Symbolize, TallyAlloc};
use heaptally_tests::counts;
use refusal::Refusal;
use regions::{Place, Regions, at};

#[global_allocator]
static ALLOC: TallyAlloc<Regions> = TallyAlloc::new(Regions);

/// A block, by its address and size; what is at the address does not matter.
#[derive(Clone, Copy, Debug)]
struct Block(usize, usize);

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 16).unwrap()
}

#[inline(never)]
fn allocate(place: Place, size: usize) -> Block {
    // SAFETY: not of size zero.
    let block = at(place, || black_box(unsafe { ALLOC.alloc(layout(size)) }));
    assert!(!block.is_null());
    Block(block.expose_provenance(), size)
}

fn free(Block(address, size): Block) {
    // SAFETY: allocated with this layout, and freed once, or known to nobody. The inner allocator leaves it alone.
    unsafe { ALLOC.dealloc(std::ptr::with_exposed_provenance_mut(address), layout(size)) };
}

fn resize(Block(address, size): Block, place: Place, new_size: usize) -> Option<Block> {
    let old = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: as in `free`; the new size is not zero.
    let new = at(place, || black_box(unsafe { ALLOC.realloc(old, layout(size), new_size) }));
    (!new.is_null()).then(|| Block(new.expose_provenance(), new_size))
}

fn row(snapshot: &Snapshot, function: &str) -> Counts {
    snapshot.function(function).map_or(Counts::ZERO, |row| row.counts())
}

fn untagged(snapshot: &Snapshot) -> Counts {
    row(snapshot, SiteKind::Untagged.label())
}

#[test]
fn a_block_without_a_tag_is_served_and_counted_at_both_ends() {
    regions::prepare();
    // Of before the start: one without memory, one beyond.
    let early = {
        let _refusal = Refusal::begin();
        let (block, counted) = heaptally::measure(|| allocate(Place::Region(0, 0), 1000));
        assert_eq!(counted, counts([1, 1000], [0, 0]));
        block
    };
    let (beyond, counted) = heaptally::measure(|| allocate(Place::Beyond(16), 700));
    assert_eq!(counted, counts([1, 700], [0, 0]));
    quiet_snapshot().unwrap();

    heaptally::start(heaptally::config!().symbolize(Symbolize::Full)).unwrap();
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(untagged(&snapshot), counts([2, 1700], [0, 0]));
    assert_eq!(snapshot.losses().failed_mappings, 1);

    // There is memory again, but a block of the region has no tag: then none there gets one.
    let late = allocate(Place::Region(0, 4096), 2000);
    assert_eq!(untagged(&quiet_snapshot().unwrap()), counts([3, 3700], [0, 0]));
    // In another region there is nothing to wait for.
    let tagged = allocate(Place::Region(1, 0), 5000);
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(untagged(&snapshot), counts([3, 3700], [0, 0]));
    assert_eq!(row(&snapshot, "untagged_blocks::allocate::{{closure}}"), counts([1, 5000], [0, 0]));
    free(tagged);

    // Resized: not at all, in its place, and to where blocks have tags.
    let (refused, counted) = heaptally::measure(|| resize(late, Place::Nowhere, 3000));
    assert!(refused.is_none() && counted == Counts::ZERO);
    let late = resize(late, Place::Region(0, 4096), 2500).unwrap();
    let moved = resize(late, Place::Region(1, 8192), 3000).unwrap();
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(untagged(&snapshot), counts([4, 6200], [2, 4500]));
    assert_eq!(row(&snapshot, "untagged_blocks::resize::{{closure}}"), counts([1, 3000], [0, 0]));
    free(moved);

    // Freed by another thread, while tracking is paused.
    let tally = heaptally::tally().unwrap();
    tally.pause();
    thread::spawn(move || free(early)).join().unwrap();
    free(beyond);
    tally.resume();
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(untagged(&snapshot), counts([4, 6200], [4, 6200]));
    assert_eq!(snapshot.losses().unknown_frees.blocks, 0);

    // All are gone: the region is like others. A second free of one of them is nobody's.
    free(late);
    free(beyond);
    free(allocate(Place::Region(0, 0), 1000));
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(untagged(&snapshot), counts([4, 6200], [4, 6200]));
    assert_eq!(row(&snapshot, "untagged_blocks::allocate::{{closure}}"), counts([2, 6000], [2, 6000]));
    let unknown = snapshot.losses().unknown_frees;
    assert_eq!((unknown.blocks, unknown.bytes, unknown.last_size), (2, 3200, 700));

    a_refused_resize_may_find_memory_for_a_tag_meanwhile();
    the_maps_of_smaller_and_larger_blocks_are_two();
    a_zeroed_block_is_like_others();
    an_untagged_block_may_be_the_last_of_its_thread();
}

/// A block that goes while it is the last of its thread is a temporary; with or without a tag, it makes the one before it
/// none.
fn an_untagged_block_may_be_the_last_of_its_thread() {
    let temporaries = || {
        let snapshot = quiet_snapshot().unwrap();
        let rows = ["untagged_blocks::allocate::{{closure}}", SiteKind::Untagged.label()];
        rows.map(|row| snapshot.function(row).map_or(0, |row| row.lifetimes().temporaries))
    };
    let before = temporaries();
    let untagged = |offset| {
        let _refusal = Refusal::begin();
        allocate(Place::Region(5, offset), 400)
    };
    let tagged = allocate(Place::Region(1, 1 << 20), 500);
    let first = untagged(0);
    free(tagged);
    assert_eq!(temporaries(), before);
    let second = untagged(4096);
    // Its turn has passed.
    free(first);
    assert_eq!(temporaries(), before);
    let third = untagged(8192);
    free(third);
    assert_eq!(temporaries(), [before[0], before[1] + 1]);
    free(second);
    assert_eq!(temporaries(), [before[0], before[1] + 1]);
}

/// Blocks of 4 KiB and more have a map of their own: without memory for it, those below have their tags all the same.
fn the_maps_of_smaller_and_larger_blocks_are_two() {
    let before = untagged(&quiet_snapshot().unwrap());
    let change = || untagged(&quiet_snapshot().unwrap()) - before;
    let larger = {
        let _refusal = Refusal::begin();
        allocate(Place::Region(3, 0), 4096)
    };
    let smaller = allocate(Place::Region(3, 8192), 4095);
    assert_eq!(change(), counts([1, 4096], [0, 0]));
    let moved = resize(larger, Place::Region(3, 0), 300).unwrap();
    assert_eq!(change(), counts([1, 4096], [1, 4096]));
    free(moved);
    free(smaller);
    // None is left: there are slots for larger ones, too.
    free(allocate(Place::Region(3, 0), 4096));
    assert_eq!(change(), counts([1, 4096], [1, 4096]));
    assert_eq!(quiet_snapshot().unwrap().losses().unknown_frees.blocks, 2);
}

/// The block stays untagged, though its region has slots by now: its slot says so.
fn a_refused_resize_may_find_memory_for_a_tag_meanwhile() {
    let before = untagged(&quiet_snapshot().unwrap());
    let block = {
        let _refusal = Refusal::begin();
        allocate(Place::Region(2, 0), 400)
    };
    // While it is being resized, it is not counted, so the region asks for memory again: as here, at its own end.
    assert!(resize(block, Place::Nowhere, 800).is_none());
    let other = allocate(Place::Region(2, 4096), 600);
    let change = |snapshot: &Snapshot| untagged(snapshot) - before;
    assert_eq!(change(&quiet_snapshot().unwrap()), counts([1, 400], [0, 0]));
    free(block);
    free(other);
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(change(&snapshot), counts([1, 400], [1, 400]));
    assert_eq!(snapshot.losses().unknown_frees.blocks, 2);
}

/// The first of its region, without memory for its tag and with it.
fn a_zeroed_block_is_like_others() {
    let zeroed = |offset, size| {
        // SAFETY: not of size zero.
        let block = at(Place::Region(4, offset), || black_box(unsafe { ALLOC.alloc_zeroed(layout(size)) }));
        Block(block.expose_provenance(), size)
    };
    let before = quiet_snapshot().unwrap();
    let block = {
        let _refusal = Refusal::begin();
        zeroed(0, 400)
    };
    assert_eq!(untagged(&quiet_snapshot().unwrap()) - untagged(&before), counts([1, 400], [0, 0]));
    free(block);
    let block = zeroed(4096, 600);
    let after = quiet_snapshot().unwrap();
    assert_eq!(untagged(&after) - untagged(&before), counts([1, 400], [1, 400]));
    free(block);
    assert_eq!(quiet_snapshot().unwrap().losses().unknown_frees.blocks, 2);
}
