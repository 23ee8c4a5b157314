//! Blocks that come back damaged, or with another layout than they were allocated with: counted as they came, in no
//! total. All but a few are small, with the tag behind their last byte.
#![cfg(not(heaptally_portable))]

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::hint::black_box;
use std::ptr::NonNull;

use heaptally::{Counts, SiteKind, Snapshot, TallyAlloc};
use heaptally_tests::assert_conserved;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

#[test]
fn a_free_without_a_known_allocation_is_shown_and_believed_by_nobody() {
    assert_eq!(changed_by(free_with_a_smaller_size), live(1, 100));
    assert_eq!(changed_by(free_with_a_larger_size), live(1, 100));
    let snapshot = heaptally::snapshot();
    assert_eq!(unknown(&snapshot), [2, 99 + 101], "before the start");

    heaptally::start(heaptally::config!()).expect("installed");
    assert_eq!(unknown(&assert_conserved("started")), [2, 99 + 101]);
    assert_eq!(changed_by(free_with_a_smaller_size), live(1, 100));
    assert_eq!(changed_by(free_overrun), live(1, 200));
    let snapshot = assert_conserved("tracking");
    assert_eq!(unknown(&snapshot), [4, 99 + 101 + 99 + 200]);
    assert_eq!(snapshot.losses().unknown_frees.last_size, 200);

    // What came of the damaged block is known: it is an allocation like any other.
    assert_eq!(changed_by(resize_overrun), Counts { freed_blocks: 1, freed_bytes: 400, ..live(2, 640) });
    let snapshot = assert_conserved("resized");
    assert_eq!(unknown(&snapshot), [5, 99 + 101 + 99 + 200 + 240]);
    assert_eq!(snapshot.losses().unknown_frees.last_size, 240);
    // The tag of a large block is elsewhere: what is written behind its end damages nothing, another size fits not.
    assert_eq!(changed_by(free_large_with_another_size), live(1, 1000));
    let snapshot = assert_conserved("large");
    assert_eq!(unknown(&snapshot), [6, 99 + 101 + 99 + 200 + 240 + 999]);
    // Nobody freed the blocks of 100, 200, 240 and 1000 bytes.
    assert_eq!(snapshot.function("damaged_blocks::block").map(|row| row.counts()), Some(live(4, 1540)));
    // One by one, and on the ways of a stack that the thread has met often.
    for _ in 0..20 {
        assert_eq!(changed_by(free_of_a_tick_to_come), live(1, 160));
    }
    assert_eq!(unknown(&assert_conserved("of a tick to come"))[0], 6 + 20);
    let resized = Counts { freed_blocks: 1, freed_bytes: 400, ..live(1, 400) };
    assert_eq!(snapshot.function("damaged_blocks::resize_overrun").map(|row| row.counts()), Some(resized));
}

/// The system's allocator ignores the size at a free, and a damaged tag lies in memory that is the block's.
#[inline(never)]
fn free_with_a_smaller_size() {
    let block = block(100);
    // SAFETY: not what was promised, and harmless with this allocator: see above.
    unsafe { dealloc(block.as_ptr(), layout(99)) };
}

#[inline(never)]
fn free_with_a_larger_size() {
    let block = block(100);
    // SAFETY: as in `free_with_a_smaller_size`; the system rounds 108 bytes up, so that there is a byte more to be
    // read.
    unsafe { dealloc(block.as_ptr(), layout(101)) };
}

#[inline(never)]
fn free_overrun() {
    let block = overrun(200);
    // SAFETY: allocated with this layout.
    unsafe { dealloc(block.as_ptr(), layout(200)) };
}

/// The tag is intact but for the tick of the birth, which has not come.
#[inline(never)]
fn free_of_a_tick_to_come() {
    /// The uppermost of the tick, half of 194 days.
    const BIT: u64 = 1 << 39;
    let block = block(160);
    // SAFETY: allocated with this layout, and the tag of a small block lies behind its last byte.
    unsafe {
        let tag = block.as_ptr().add(160).cast::<u64>();
        tag.write_unaligned(tag.read_unaligned() ^ BIT);
        dealloc(block.as_ptr(), layout(160));
    }
}

#[inline(never)]
fn resize_overrun() {
    let damaged = overrun(240);
    // SAFETY: allocated with this layout.
    let whole = black_box(unsafe { realloc(damaged.as_ptr(), layout(240), 400) });
    // SAFETY: resized to this layout.
    unsafe { dealloc(whole, layout(400)) };
}

#[inline(never)]
fn free_large_with_another_size() {
    let block = block(1000);
    // SAFETY: as in `free_with_a_smaller_size`.
    unsafe { dealloc(block.as_ptr(), layout(999)) };
}

/// A block whose first byte behind the end was written.
fn overrun(size: usize) -> NonNull<u8> {
    let block = block(size);
    // SAFETY: heaptally has asked the system for eight bytes more. Volatile, since the compiler may know better.
    unsafe {
        let behind = block.as_ptr().add(size);
        behind.write_volatile(!behind.read_volatile());
    }
    block
}

#[inline(never)]
fn block(size: usize) -> NonNull<u8> {
    // SAFETY: not of zero size.
    NonNull::new(black_box(unsafe { alloc(layout(size)) })).expect("memory")
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(black_box(size), 8).expect("a valid layout")
}

fn live(blocks: u64, bytes: u64) -> Counts {
    Counts { allocated_blocks: blocks, allocated_bytes: bytes, ..Counts::ZERO }
}

/// What `f` has changed in the totals, as far as they are the calling thread's: the harness has a thread of its own.
fn changed_by(f: fn()) -> Counts {
    heaptally::measure(f).1
}

/// Blocks and bytes, which the row and the losses agree on.
fn unknown(snapshot: &Snapshot) -> [u64; 2] {
    let frees = snapshot.losses().unknown_frees;
    let row = snapshot.function(SiteKind::UnknownFrees.label()).map_or(Counts::ZERO, |row| row.counts());
    let counts = Counts { freed_blocks: frees.blocks, freed_bytes: frees.bytes, ..Counts::ZERO };
    assert_eq!(row, counts);
    [frees.blocks, frees.bytes]
}
