//! An allocator that finds the class of a block from the layout it is freed with, as jemalloc and mimalloc may do.
//!
//! Stands inside the global allocator; any thread. Blocks of a class lie on a list of their own, under one spin lock;
//! large ones are the system's. A block that comes back with a layout of another class is counted, and left alone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use address_space::AddressSpace;

#[path = "address_space.rs"]
mod address_space;

const SMALLEST_BYTES: usize = 16;
/// 16 bytes to 128 KiB.
const CLASSES: usize = 14;
/// Each class has a region of address space of its own: where a block lies tells its class.
const REGION_BYTES: usize = 32 << 20;
const MAX_ALIGN: usize = 4096;

/// Frees with a layout of another class than the allocation's.
pub(crate) static WRONG_CLASS: AtomicU64 = AtomicU64::new(0);
/// Whether every request is refused.
pub(crate) static FAILING: AtomicBool = AtomicBool::new(false);

static REGIONS: AddressSpace<{ CLASSES * REGION_BYTES }> = AddressSpace::new();

/// Bytes of each region handed out for the first time.
static FRESH: [AtomicUsize; CLASSES] = [const { AtomicUsize::new(0) }; CLASSES];
/// The block freed last; its first word is the address of the one before.
static FREED: [AtomicUsize; CLASSES] = [const { AtomicUsize::new(0) }; CLASSES];
static LOCKED: AtomicU8 = AtomicU8::new(0);

static CALLS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// Calls so far of `alloc`, `alloc_zeroed`, `realloc` and `dealloc`.
pub(crate) fn calls() -> [u64; 4] {
    std::array::from_fn(|method| CALLS[method].load(Ordering::Relaxed))
}

/// See the module's head.
pub(crate) struct SizeClasses;

/// The class of a layout; `None` for the system's.
fn class_of(layout: Layout) -> Option<usize> {
    let bytes = layout.size().max(layout.align()).max(SMALLEST_BYTES).next_power_of_two();
    let class = (bytes / SMALLEST_BYTES).trailing_zeros() as usize;
    (class < CLASSES && layout.align() <= MAX_ALIGN).then_some(class)
}

fn with_lock<R>(f: impl FnOnce() -> R) -> R {
    while LOCKED.swap(1, Ordering::Acquire) != 0 {
        std::thread::yield_now();
    }
    let result = f();
    LOCKED.store(0, Ordering::Release);
    result
}

fn take(class: usize) -> *mut u8 {
    let freed = with_lock(|| {
        let block: *mut u8 = ptr::with_exposed_provenance_mut(FREED[class].load(Ordering::Relaxed));
        if !block.is_null() {
            // SAFETY: a free block of at least sixteen aligned bytes, whose first word was written by `give_back`.
            FREED[class].store(unsafe { block.cast::<usize>().read() }, Ordering::Relaxed);
        }
        block
    });
    if !freed.is_null() {
        return freed;
    }
    let bytes = SMALLEST_BYTES << class;
    let offset = FRESH[class].fetch_add(bytes, Ordering::Relaxed);
    if offset + bytes > REGION_BYTES {
        return ptr::null_mut();
    }
    // SAFETY: inside the class's region.
    unsafe { REGIONS.base().add(class * REGION_BYTES + offset) }
}

fn give_back(block: *mut u8, class: usize) {
    let offset = block.addr().wrapping_sub(REGIONS.base().addr());
    if offset / REGION_BYTES != class || !offset.is_multiple_of(SMALLEST_BYTES << class) {
        WRONG_CLASS.fetch_add(1, Ordering::Relaxed);
        return;
    }
    with_lock(|| {
        // SAFETY: as in `take`; the block is the allocator's again.
        unsafe { block.cast::<usize>().write(FREED[class].load(Ordering::Relaxed)) };
        FREED[class].store(block.expose_provenance(), Ordering::Relaxed);
    });
}

fn counted_unless_failing(method: usize) -> bool {
    CALLS[method].fetch_add(1, Ordering::Relaxed);
    !FAILING.load(Ordering::SeqCst)
}

// SAFETY: blocks are aligned to their class, which is at least their alignment, are as large, and are handed out once
// at a time.
unsafe impl GlobalAlloc for SizeClasses {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !counted_unless_failing(0) {
            return ptr::null_mut();
        }
        match class_of(layout) {
            Some(class) => take(class),
            // SAFETY: the caller's promise.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !counted_unless_failing(1) {
            return ptr::null_mut();
        }
        match class_of(layout) {
            Some(class) => {
                let block = take(class);
                if !block.is_null() {
                    // SAFETY: a fresh block of the caller's, of that size at least.
                    unsafe { block.write_bytes(0, layout.size()) };
                }
                block
            }
            // SAFETY: the caller's promise.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !counted_unless_failing(2) {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (class_of(layout), class_of(new_layout)) {
            // SAFETY: the caller's promise; the system's block stays the system's.
            (None, None) => unsafe { System.realloc(block, layout, new_size) },
            (Some(old), Some(new)) if old == new => block,
            (old, new) => {
                // SAFETY: two blocks of the sizes given; the old one is freed where it came from.
                unsafe {
                    let moved = new.map_or_else(|| System.alloc(new_layout), take);
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(block, layout.size().min(new_size));
                        old.map_or_else(|| System.dealloc(block, layout), |class| give_back(block, class));
                    }
                    moved
                }
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        CALLS[3].fetch_add(1, Ordering::Relaxed);
        match class_of(layout) {
            Some(class) => give_back(block, class),
            // SAFETY: the system's, as its layout says.
            None => unsafe { System.dealloc(block, layout) },
        }
    }
}
