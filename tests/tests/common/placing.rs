//! [`Bump`], but for the large blocks of an operation that wants them elsewhere: at the beginning of 256 MiB of addresses
//! in which no block has lain, or where no memory can be.
//!
//! Stands inside the global allocator; any thread, one of which at a time has its blocks elsewhere, with the handlers
//! that interrupt it. One atomic addition, no lock.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bump::Bump;
use crate::bump::address_space::AddressSpace;

/// The bytes of addresses that have their tags in common.
const REGION_BYTES: usize = 256 << 20;
/// More than a test visits instructions, even if it visits all.
const REGIONS: usize = 1 << 15;
const LARGE_FROM_BYTES: usize = 256;
/// The first address beyond what user space has without asking for more.
const BEYOND: usize = 1 << 47;

static SPACE: AddressSpace<{ (REGIONS + 1) * REGION_BYTES }> = AddressSpace::new();
/// The regions that were begun.
static BEGUN: AtomicUsize = AtomicUsize::new(0);
/// Where the next block of a region lies.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Where a thread's large blocks lie.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    /// With all others.
    Arena,
    /// In the region begun last.
    Region,
    /// At an address that memory cannot have: the block must not be touched.
    Beyond,
}

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place::Arena) };
}

/// From here on, the calling thread's large blocks lie at `place`.
pub(crate) fn set(place: Place) {
    PLACE.set(place);
}

/// Where the calling thread's large blocks lie.
/// Begins a region.
pub(crate) fn begin_region() {
    let region = BEGUN.fetch_add(1, Ordering::Relaxed);
    assert!(region < REGIONS);
    NEXT.store(SPACE.base().addr().next_multiple_of(REGION_BYTES) + region * REGION_BYTES, Ordering::Relaxed);
}

/// Runs `f` with the calling thread's large blocks at `place`.
#[allow(dead_code, reason = "not every test has a handler that allocates")]
pub(crate) fn at<R>(place: Place, f: impl FnOnce() -> R) -> R {
    let before = PLACE.replace(place);
    let result = f();
    PLACE.set(before);
    result
}

/// Where the calling thread's large blocks lie.
#[allow(dead_code, reason = "as above")]
pub(crate) fn place() -> Place {
    PLACE.get()
}

/// See the module's head.
pub(crate) struct Placing;

// SAFETY: Bump's blocks are as good as its own. Those of a region are aligned, inside it, and never handed out twice;
// the test touches none of the others.
unsafe impl GlobalAlloc for Placing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place = PLACE.get();
        if layout.size() < LARGE_FROM_BYTES || place == Place::Arena {
            // SAFETY: the caller's promise.
            return unsafe { Bump.alloc(layout) };
        }
        if place == Place::Beyond {
            return ptr::without_provenance_mut(BEYOND);
        }
        let address = NEXT.fetch_add(layout.size().next_multiple_of(layout.align().max(64)), Ordering::Relaxed);
        SPACE.base().with_addr(address)
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
