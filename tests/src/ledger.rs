//! The naive model: an allocator that counts what passes through it, with process-wide atomics and nothing else.
//!
//! Around `TallyAlloc` it sees what the program asks for, inside it what the system is asked for. Runs on every
//! thread inside the allocator: never allocates, never panics. Knows nothing of heaptally.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

use heaptally::Counts;

/// Four counters that everyone adds to.
#[derive(Debug, Default)]
pub struct Ledger {
    allocated_blocks: AtomicU64,
    allocated_bytes: AtomicU64,
    freed_blocks: AtomicU64,
    freed_bytes: AtomicU64,
    /// Of the blocks, those that heaptally makes larger by a tag.
    allocated_small: AtomicU64,
    freed_small: AtomicU64,
}

/// Blocks of so many bytes keep their size, smaller ones get a tag behind their last byte.
const LARGE_FROM_BYTES: usize = 256;
const TAG_BYTES: u64 = 8;

impl Ledger {
    /// Nothing counted.
    pub const fn new() -> Self {
        Self {
            allocated_blocks: AtomicU64::new(0),
            allocated_bytes: AtomicU64::new(0),
            freed_blocks: AtomicU64::new(0),
            freed_bytes: AtomicU64::new(0),
            allocated_small: AtomicU64::new(0),
            freed_small: AtomicU64::new(0),
        }
    }

    /// The counters now. Each is right for the instant it was read, all of them together only when nobody allocates.
    pub fn counts(&self) -> Counts {
        Counts {
            allocated_blocks: self.allocated_blocks.load(Ordering::SeqCst),
            allocated_bytes: self.allocated_bytes.load(Ordering::SeqCst),
            freed_blocks: self.freed_blocks.load(Ordering::SeqCst),
            freed_bytes: self.freed_bytes.load(Ordering::SeqCst),
        }
    }

    /// What heaptally must have asked the allocator inside for, if this is what it was asked for.
    pub fn with_tags(&self) -> Counts {
        let counts = self.counts();
        Counts {
            allocated_bytes: counts.allocated_bytes + TAG_BYTES * self.allocated_small.load(Ordering::SeqCst),
            freed_bytes: counts.freed_bytes + TAG_BYTES * self.freed_small.load(Ordering::SeqCst),
            ..counts
        }
    }

    fn count_allocated(&self, size: usize) {
        self.allocated_small.fetch_add(u64::from(size < LARGE_FROM_BYTES), Ordering::SeqCst);
        self.allocated_blocks.fetch_add(1, Ordering::SeqCst);
        self.allocated_bytes.fetch_add(size as u64, Ordering::SeqCst);
    }

    fn count_freed(&self, size: usize) {
        self.freed_small.fetch_add(u64::from(size < LARGE_FROM_BYTES), Ordering::SeqCst);
        self.freed_blocks.fetch_add(1, Ordering::SeqCst);
        self.freed_bytes.fetch_add(size as u64, Ordering::SeqCst);
    }
}

/// Counts the layouts that pass through it into a ledger. A successful `realloc` is a free and an allocation, a
/// failed one nothing.
#[derive(Debug)]
pub struct Oracle<A> {
    inner: A,
    ledger: &'static Ledger,
}

impl<A> Oracle<A> {
    /// Around `inner`, writing into `ledger`.
    pub const fn new(inner: A, ledger: &'static Ledger) -> Self {
        Self { inner, ledger }
    }
}

// SAFETY: hands everything to `inner` unchanged; counting neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Oracle<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let address = unsafe { self.inner.alloc(layout) };
        if !address.is_null() {
            self.ledger.count_allocated(layout.size());
        }
        address
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let address = unsafe { self.inner.alloc_zeroed(layout) };
        if !address.is_null() {
            self.ledger.count_allocated(layout.size());
        }
        address
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        self.ledger.count_freed(layout.size());
        // SAFETY: the caller's promise.
        unsafe { self.inner.dealloc(address, layout) };
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let new_address = unsafe { self.inner.realloc(address, layout, new_size) };
        if !new_address.is_null() {
            self.ledger.count_freed(layout.size());
            self.ledger.count_allocated(new_size);
        }
        new_address
    }
}
