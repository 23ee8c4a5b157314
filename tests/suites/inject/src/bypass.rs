//! A planted fault: one block of the process, never freed, is not counted by heaptally. Without it nothing says that a
//! suite with wrong numbers would be found.
//!
//! Called inside the allocator, on any thread: does not allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the next block goes past heaptally.
static ARMED: AtomicBool = AtomicBool::new(false);

/// Around heaptally, and inside the ledger that knows better.
pub(crate) struct Bypass<A>(pub(crate) A);

/// Lets a block go past heaptally.
pub(crate) fn plant_fault() {
    ARMED.store(true, Ordering::Relaxed);
    // Not zeros: they would be asked for by `alloc_zeroed`.
    std::mem::forget(black_box(Box::new([1_u8; 64])));
}

// SAFETY: hands everything to the one inside, but for one block that nobody frees.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Bypass<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ARMED.load(Ordering::Relaxed) && ARMED.swap(false, Ordering::Relaxed) {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        }
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise; a block of the one inside.
        unsafe { self.0.dealloc(address, layout) };
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise; a block of the one inside.
        unsafe { self.0.realloc(address, layout, new_size) }
    }
}
