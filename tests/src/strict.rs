//! The allocator at the bottom: the system's, but one that refuses on demand and remembers the layouts it was shown.
//!
//! The system's allocator ignores the layout at a free, others do not. Here every block adds a number made of its
//! address, size and alignment to a sum of the thread, and takes it away when it is freed: a thread that has freed
//! all it allocated, with the layouts it allocated with, is back where it was. Runs on every thread inside the
//! allocator: never allocates, never panics.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::random::mix;

thread_local! {
    /// Whether allocations and reallocations of this thread fail.
    static REFUSING: Cell<bool> = const { Cell::new(false) };
    /// Sum over what this thread allocated, less what it freed, modulo 2^64.
    static BALANCE: Cell<u64> = const { Cell::new(0) };
}

/// See the module's head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strict;

/// Runs `f` with every request for memory refused to the calling thread. `f` must not panic: it would find no memory
/// to do so.
pub fn refusing<R>(f: impl FnOnce() -> R) -> R {
    REFUSING.set(true);
    let result = f();
    REFUSING.set(false);
    result
}

/// The calling thread's sum over addresses and layouts. Equal at two moments between which the thread has freed, with
/// the right layouts, exactly what it allocated.
pub fn layout_balance() -> u64 {
    BALANCE.get()
}

fn number(address: *mut u8, layout: Layout) -> u64 {
    mix(address.addr() as u64 ^ mix(layout.size() as u64 ^ mix(layout.align() as u64)))
}

fn note_allocated(address: *mut u8, layout: Layout) -> *mut u8 {
    if !address.is_null() {
        BALANCE.set(BALANCE.get().wrapping_add(number(address, layout)));
    }
    address
}

fn note_freed(address: *mut u8, layout: Layout) {
    BALANCE.set(BALANCE.get().wrapping_sub(number(address, layout)));
}

// SAFETY: hands everything to the system unchanged, or refuses, which is always allowed; thread-locals without
// destructor neither allocate nor unwind.
unsafe impl GlobalAlloc for Strict {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSING.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        note_allocated(unsafe { System.alloc(layout) }, layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if REFUSING.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        note_allocated(unsafe { System.alloc_zeroed(layout) }, layout)
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        note_freed(address, layout);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(address, layout) };
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if REFUSING.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        let new_address = unsafe { System.realloc(address, layout, new_size) };
        if !new_address.is_null() {
            note_freed(address, layout);
            // SAFETY: the system served it, so the size is valid for the alignment.
            note_allocated(new_address, unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) });
        }
        new_address
    }
}
