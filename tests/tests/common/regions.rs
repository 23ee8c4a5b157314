//! An allocator that puts blocks where a test wants them: at the beginning of a region of 256 MiB, or at an address that
//! no memory can have.
//!
//! Stands inside the global allocator; any thread. What no region was chosen for is the system's, and so are small
//! blocks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

use address_space::AddressSpace;

#[path = "address_space.rs"]
mod address_space;

/// The bytes of addresses that have their tags, or none, in common.
const REGION_BYTES: usize = 256 << 20;
const REGIONS: usize = 6;
/// The first address beyond what user space has without asking for more.
const BEYOND: usize = 1 << 47;
const LARGE_FROM_BYTES: usize = 256;

static SPACE: AddressSpace<{ (REGIONS + 1) * REGION_BYTES }> = AddressSpace::new();

/// Where the next large blocks of the thread lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the system puts them.
    System,
    /// In a region, so many bytes from its beginning, of which the allocator keeps no account.
    Region(usize, usize),
    /// Where no memory is: the block must not be touched.
    #[allow(dead_code, reason = "not every test has such blocks")]
    Beyond(usize),
    /// Nowhere: requests are refused.
    Nowhere,
}

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place::System) };
}

/// Runs `f` with large blocks at a place.
pub(crate) fn at<R>(place: Place, f: impl FnOnce() -> R) -> R {
    let before = PLACE.replace(place);
    let result = f();
    PLACE.set(before);
    result
}

/// Makes address space of all regions, so that it is there before the system refuses more.
pub(crate) fn prepare() {
    SPACE.base();
}

/// See the module's head.
pub(crate) struct Regions;

/// The block of the place; `None` for the system's.
fn placed(layout: Layout) -> Option<*mut u8> {
    if layout.size() < LARGE_FROM_BYTES {
        return None;
    }
    match PLACE.get() {
        Place::System => None,
        Place::Region(region, offset) => {
            let begin = SPACE.base().addr().next_multiple_of(REGION_BYTES) - SPACE.base().addr();
            Some(SPACE.base().wrapping_add(begin + region * REGION_BYTES + offset))
        }
        Place::Beyond(offset) => Some(ptr::without_provenance_mut(BEYOND + offset)),
        Place::Nowhere => Some(ptr::null_mut()),
    }
}

fn is_placed(block: *mut u8) -> bool {
    let begin = SPACE.base().addr();
    block.addr() >= BEYOND || (begin..begin + (REGIONS + 1) * REGION_BYTES).contains(&block.addr())
}

// SAFETY: the system's blocks are as good as its own. Of the others the test uses one at a time and place.
unsafe impl GlobalAlloc for Regions {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        placed(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !is_placed(block) {
            // SAFETY: the caller's promise.
            unsafe { System.dealloc(block, layout) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (is_placed(block), placed(new_layout)) {
            // SAFETY: the caller's promise; the system's block stays the system's.
            (false, None) => unsafe { System.realloc(block, layout, new_size) },
            // Contents are nobody's business here.
            (true, Some(new_block)) => new_block,
            _ => ptr::null_mut(),
        }
    }
}
