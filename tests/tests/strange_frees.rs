//! Frees of what is not the block that its layout says, where large blocks lie: counted apart, and nobody else's tag or
//! count is touched.
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
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Counts, SiteKind, TallyAlloc};
use heaptally_tests::counts;
use refusal::Refusal;
use regions::{Place, Regions, at};

#[global_allocator]
static ALLOC: TallyAlloc<Regions> = TallyAlloc::new(Regions);

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// A block of heaptally's.
fn allocate(place: Place, size: usize) -> *mut u8 {
    // SAFETY: not of size zero.
    let block = at(place, || black_box(unsafe { ALLOC.alloc(layout(size)) }));
    assert!(!block.is_null());
    block
}

/// A block of the inner allocator's, which heaptally has never seen. It keeps no account of those at a place.
fn foreign(place: Place, size: usize) -> *mut u8 {
    // SAFETY: not of size zero.
    at(place, || unsafe { Regions.alloc(layout(size)) })
}

fn free(block: *mut u8, size: usize) {
    // SAFETY: whatever the size, the inner allocator leaves blocks at a place alone.
    unsafe { ALLOC.dealloc(block, layout(size)) };
}

fn resize(block: *mut u8, size: usize, place: Place, new_size: usize) -> *mut u8 {
    // SAFETY: as in `free`; the new size is not zero.
    at(place, || black_box(unsafe { ALLOC.realloc(block, layout(size), new_size) }))
}

/// Of the rows of frees that nobody knows, and of blocks without a tag, in a snapshot that adds up.
fn unknown_and_untagged() -> [Counts; 2] {
    let snapshot = quiet_snapshot().unwrap();
    [SiteKind::UnknownFrees, SiteKind::Untagged]
        .map(|kind| snapshot.function(kind.label()).map_or(Counts::ZERO, |row| row.counts()))
}

#[test]
fn a_free_of_something_else_touches_no_other_block() {
    regions::prepare();
    a_tag_that_does_not_fit_stays();
    heaptally::start(heaptally::config!()).unwrap();
    assert_eq!(unknown_and_untagged(), [counts([0, 0], [4, 1400]), Counts::ZERO]);
    a_tag_that_does_not_fit_stays();
    assert_eq!(unknown_and_untagged(), [counts([0, 0], [8, 2800]), Counts::ZERO]);
    no_more_is_freed_than_was_untagged();
    a_second_free_is_nobodys_on_every_way();
}

/// Of 256 bytes, in which one large block begins, behind something that is freed as if it were large, too.
fn a_tag_that_does_not_fit_stays() {
    let block = allocate(Place::Region(0, 128), 1000);
    let other = foreign(Place::Region(0, 0), 300);
    let ((), counted) = heaptally::measure(|| {
        assert!(resize(other, 300, Place::Nowhere, 400).is_null());
        free(other, 300);
        free(other, 300);
        free(foreign(Place::Beyond(0), 500), 500);
    });
    assert_eq!(counted, Counts::ZERO);
    let (moved, counted) = heaptally::measure(|| resize(other, 300, Place::Region(0, 4096), 400));
    assert_eq!(counted, counts([1, 400], [0, 0]));
    let ((), counted) = heaptally::measure(|| {
        free(moved, 400);
        free(block, 1000);
    });
    assert_eq!(counted, counts([0, 0], [2, 1400]));
}

/// Without tags, one block is like another; but neither blocks nor bytes of their row go below zero.
fn no_more_is_freed_than_was_untagged() {
    let [unknown, _] = unknown_and_untagged();
    let block = {
        let _refusal = Refusal::begin();
        allocate(Place::Region(1, 0), 1000)
    };
    // Of 1000 bytes there is none of 1001, and a failed resize changes nothing.
    let other = foreign(Place::Region(1, 4096), 5000);
    free(other, 5000);
    free(other, 1001);
    {
        let _refusal = Refusal::begin();
        assert!(resize(block, 1000, Place::Nowhere, 2000).is_null());
    }
    let unknown = unknown + counts([0, 0], [2, 6001]);
    assert_eq!(unknown_and_untagged(), [unknown, counts([1, 1000], [0, 0])]);
    // Where none is, none is freed, however many bytes there are elsewhere.
    free(foreign(Place::Region(2, 0), 300), 300);
    let unknown = unknown + counts([0, 0], [1, 300]);
    assert_eq!(unknown_and_untagged(), [unknown, counts([1, 1000], [0, 0])]);
    // It may be this one. Then there is none any more, and the real one is nobody's.
    free(other, 400);
    free(block, 1000);
    assert_eq!(unknown_and_untagged(), [unknown + counts([0, 0], [1, 1000]), counts([1, 1000], [1, 400])]);
}

/// Of blocks of a stack that the thread has met often, in the tick of their birth and afterwards.
fn a_second_free_is_nobodys_on_every_way() {
    const BLOCKS: usize = 20;
    const BYTES: usize = 300;
    let [unknown, untagged] = unknown_and_untagged();
    let ((), counted) = heaptally::measure(|| {
        for _ in 0..BLOCKS {
            let block = allocate(Place::Region(3, 0), BYTES);
            free(block, BYTES);
            free(block, BYTES);
        }
    });
    let all = [BLOCKS as u64, (BLOCKS * BYTES) as u64];
    assert_eq!(counted, counts(all, all));
    let unknown = unknown + counts([0, 0], all);
    assert_eq!(unknown_and_untagged(), [unknown, untagged]);

    let blocks: [_; BLOCKS] = std::array::from_fn(|place| allocate(Place::Region(3, place * 512), BYTES));
    let born = heaptally::snapshot().tick();
    while heaptally::snapshot().tick() == born {
        thread::sleep(Duration::from_millis(10));
    }
    let ((), counted) = heaptally::measure(|| {
        for block in blocks {
            free(block, BYTES);
            free(block, BYTES);
        }
    });
    assert_eq!(counted, counts([0, 0], all));
    assert_eq!(unknown_and_untagged(), [unknown + counts([0, 0], all), untagged]);
}
