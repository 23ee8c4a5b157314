//! The allocator under its other name.
//!
//! A type of its own and no alias of [`TallyAlloc`]: that type's users should not meet an `allocated` that means live
//! bytes. Its methods are `#[inline(always)]`, so that it adds no frame to the stacks that are captured, nor an
//! instruction to the hook; where debug information names it all the same, it is inlined into `__rust_alloc`, and as a
//! method of `GlobalAlloc` nobody's owner (`engine/module_filter.rs`).
#![allow(unsafe_code, reason = "this is a global allocator")]

use std::alloc::{GlobalAlloc, Layout};

use crate::{TallyAlloc, engine};

/// [`TallyAlloc::system`] with the methods of the crate `leaktracer`. Declare one, as the global allocator.
#[derive(Debug)]
pub struct LeaktracerAllocator {
    inner: TallyAlloc,
}

impl LeaktracerAllocator {
    /// Around the system's allocator.
    pub const fn init() -> Self {
        Self { inner: TallyAlloc::system() }
    }

    /// Bytes allocated and not yet freed, without those of heaptally itself. Allocates nothing.
    ///
    /// Exact for the moment at which each counter was read, which moments lie microseconds apart: what heaptally itself
    /// allocates or frees in between, while another thread takes a snapshot, is then mistaken for the program's.
    pub fn allocated(&self) -> usize {
        // Below zero for the reason just told, when the program has next to nothing.
        engine::program_counts().live_bytes().max(0) as usize
    }
}

// SAFETY: `TallyAlloc` keeps the contract, and each method hands on what it was given.
unsafe impl GlobalAlloc for LeaktracerAllocator {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.inner.alloc(layout) }
    }

    #[inline(always)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.inner.dealloc(address, layout) }
    }

    #[inline(always)]
    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.inner.realloc(address, layout, new_size) }
    }
}
