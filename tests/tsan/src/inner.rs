//! The allocator inside: the system's, with the synchronisation that every allocator has, and ThreadSanitizer's own does not
//! show.
//!
//! Whoever is given memory that another thread has freed sees what that one did to it before. heaptally relies on that for the
//! slots of large blocks (`docs/memory-ordering.md`, "Tags"): a slot is cleared before the free, and written anew by who has
//! the memory next. ThreadSanitizer forgets all accesses to a block itself when it is freed, but not those to its slot.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

/// Pages that share a word: few enough that frees of one page order little of what others do.
const WORDS: usize = 1 << 16;
const PAGE_BITS: u32 = 12;

/// Frees, by the page that the block began in.
static FREES: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

fn frees_at(address: *mut u8) -> &'static AtomicU64 {
    &FREES[(address.addr() >> PAGE_BITS) % WORDS]
}

/// A block, or null.
///
/// # Safety
///
/// As for [`GlobalAlloc::alloc`].
pub(crate) unsafe fn allocate(layout: Layout) -> *mut u8 {
    // SAFETY: the caller's.
    let address = unsafe { System.alloc(layout) };
    // Acquire: pairs with the Release in `free`.
    frees_at(address).load(Ordering::Acquire);
    address
}

/// # Safety
///
/// As for [`GlobalAlloc::dealloc`].
pub(crate) unsafe fn free(address: *mut u8, layout: Layout) {
    // Release: pairs with the Acquire in `allocate`.
    frees_at(address).fetch_add(1, Ordering::Release);
    // SAFETY: the caller's.
    unsafe { System.dealloc(address, layout) };
}
