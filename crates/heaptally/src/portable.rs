//! Everything behind the public functions, on platforms without stack capture: forward, and keep totals.
//!
//! The same functions as the engine's, which runs on Linux on x86-64 with glibc. No tag, no thread, no memory of our
//! own: blocks are what the inner allocator makes them. `--cfg heaptally_portable` builds this anywhere, which is how
//! it is tested.
//!
//! # Synchronization
//!
//! Every word is added with Release and read with Acquire, freed before allocated: a free that is seen happened after
//! its allocation was counted, so live blocks and bytes are never negative.
#![allow(unsafe_code, reason = "this is a global allocator")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use heaptally_profile::{
    Counts, History, HistoryLimits, Peak, PeakBytes, Site, SiteKind, Snapshot, SnapshotParts, Totals,
};

use crate::module_name::normalize;
use crate::{Config, ModuleError, StartError, SymbolTable, TallyAlloc};

/// Enough that threads seldom meet on one.
const SHARDS: usize = 16;

#[derive(Default)]
struct Shard {
    allocated_blocks: AtomicU64,
    allocated_bytes: AtomicU64,
    freed_blocks: AtomicU64,
    freed_bytes: AtomicU64,
}

static TOTALS: [CachePadded<Shard>; SHARDS] = [const {
    CachePadded::new(Shard {
        allocated_blocks: AtomicU64::new(0),
        allocated_bytes: AtomicU64::new(0),
        freed_blocks: AtomicU64::new(0),
        freed_bytes: AtomicU64::new(0),
    })
}; SHARDS];
/// The shard of the next thread.
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Const and without destructor: the allocator may use them at any time in the life of the thread.
    static COUNTS: Cell<Counts> = const { Cell::new(Counts::ZERO) };
    static SHARD: Cell<Option<&'static Shard>> = const { Cell::new(None) };
}

// SAFETY: every call is forwarded with the layout the program gave, so whatever the inner allocator promises holds.
// Counting neither panics nor allocates.
unsafe impl<A: GlobalAlloc> GlobalAlloc for TallyAlloc<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        count_allocated(unsafe { self.inner.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        count_allocated(unsafe { self.inner.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        count_freed(layout.size());
        // SAFETY: the caller's promise.
        unsafe { self.inner.dealloc(address, layout) };
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let new_address = unsafe { self.inner.realloc(address, layout, new_size) };
        if !new_address.is_null() {
            count_freed(layout.size());
        }
        count_allocated(new_address, new_size)
    }
}

fn count_allocated(address: *mut u8, size: usize) -> *mut u8 {
    if !address.is_null() {
        let bytes = size as u64;
        COUNTS.set(COUNTS.get() + Counts { allocated_blocks: 1, allocated_bytes: bytes, ..Counts::ZERO });
        shard().allocated_blocks.fetch_add(1, Ordering::Release);
        shard().allocated_bytes.fetch_add(bytes, Ordering::Release);
    }
    address
}

fn count_freed(size: usize) {
    let bytes = size as u64;
    COUNTS.set(COUNTS.get() + Counts { freed_blocks: 1, freed_bytes: bytes, ..Counts::ZERO });
    shard().freed_blocks.fetch_add(1, Ordering::Release);
    shard().freed_bytes.fetch_add(bytes, Ordering::Release);
}

fn shard() -> &'static Shard {
    SHARD.get().unwrap_or_else(|| {
        let shard = &*TOTALS[NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS];
        SHARD.set(Some(shard));
        shard
    })
}

pub(crate) fn start(_: Config) -> Result<(), StartError> {
    Err(StartError::Unsupported)
}

pub(crate) fn is_running() -> bool {
    false
}

pub(crate) fn totals() -> Totals {
    let sum =
        |counter: fn(&Shard) -> &AtomicU64| TOTALS.iter().map(|shard| counter(shard).load(Ordering::Acquire)).sum();
    // Freed first: see the module's head.
    let (freed_blocks, freed_bytes) = (sum(|shard| &shard.freed_blocks), sum(|shard| &shard.freed_bytes));
    let (allocated_blocks, allocated_bytes) =
        (sum(|shard| &shard.allocated_blocks), sum(|shard| &shard.allocated_bytes));
    Totals { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes }
}

pub(crate) fn program_counts() -> Counts {
    totals().counts()
}

pub(crate) fn thread_counts() -> Counts {
    COUNTS.get()
}

pub(crate) fn snapshot() -> Snapshot {
    let totals = totals();
    Snapshot::from_parts(SnapshotParts {
        totals,
        totals_before: Some(totals),
        sites: vec![Site::pseudo(SiteKind::BeforeStart, totals.counts())],
        ..SnapshotParts::default()
    })
}

// Nobody has a `Tally` here, so nobody can ask for the following; they are what the engine's are before `start`.

pub(crate) fn peak() -> Peak {
    Peak::new(PeakBytes::default(), snapshot())
}

pub(crate) fn history() -> History {
    History::new(HistoryLimits::DEFAULT)
}

pub(crate) fn snapshot_with_history() -> (Snapshot, History) {
    (snapshot(), history())
}

pub(crate) fn set_paused(_: bool) {}

pub(crate) fn set_modules(modules: Vec<String>) -> Result<(), ModuleError> {
    modules.iter().try_for_each(|name| normalize(name).map(drop))
}

pub(crate) fn symbol_table() -> SymbolTable {
    let table = SymbolTable::new();
    let snapshot = snapshot();
    table.merge(snapshot.sites(), snapshot.sequence());
    table
}

pub(crate) fn internal<R>(f: impl FnOnce() -> R) -> R {
    f()
}
