//! A tag behind every block, by plain reads and writes in methods that the compiler may inline.
//!
//! What breaks it: `alloc` does enough to become a function of its own, and the small `dealloc` is inlined into the
//! function that frees. There, the compiler sees `__rust_alloc_zeroed` and a read behind the block, and knows that
//! nobody has written it: the tag is folded to zero. The other way round the tag's write would be dropped as dead.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

const TAG_BYTES: usize = 8;
const SHARDS: usize = 16;

/// Frees that found another tag than was written.
pub(crate) static DAMAGED: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: [AtomicU64; SHARDS] = [const { AtomicU64::new(0) }; SHARDS];

/// See the module's head.
pub(crate) struct Naive;

// SAFETY: hands everything to the system with room for a tag, and nothing panics. That the compiler disagrees on the
// room is what the program shows.
unsafe impl GlobalAlloc for Naive {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, for a larger layout.
        unsafe { tagged(System.alloc(with_tag(layout)), layout.size()) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, for a larger layout.
        unsafe { tagged(System.alloc_zeroed(with_tag(layout)), layout.size()) }
    }

    #[inline]
    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: a block of `alloc`.
        unsafe {
            check(address, layout.size());
            System.dealloc(address, with_tag(layout));
        }
    }

    #[inline]
    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: a block of `alloc`; the caller's promise, for a larger size.
        unsafe {
            check(address, layout.size());
            tagged(System.realloc(address, with_tag(layout), new_size + TAG_BYTES), new_size)
        }
    }
}

fn with_tag(layout: Layout) -> Layout {
    // SAFETY: the blocks of the shapes are small.
    unsafe { Layout::from_size_align_unchecked(layout.size() + TAG_BYTES, layout.align()) }
}

fn tag_of(address: *mut u8, size: usize) -> u64 {
    (address.addr() as u64).wrapping_add(size as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Counts the block, here in as many instructions as a real tally takes for it, and writes its tag.
///
/// # Safety
///
/// Null or a block with room for a tag behind `size` bytes.
#[inline(always)]
unsafe fn tagged(address: *mut u8, size: usize) -> *mut u8 {
    if address.is_null() {
        return address;
    }
    let tag = tag_of(address, size);
    for (shard, counter) in ALLOCATED.iter().enumerate() {
        counter.fetch_add(tag >> shard & 1, Ordering::Relaxed);
    }
    // SAFETY: the caller's promise.
    unsafe { address.add(size).cast::<u64>().write_unaligned(tag) };
    address
}

/// # Safety
///
/// A block of [`tagged`].
#[inline(always)]
unsafe fn check(address: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    let tag = unsafe { address.add(size).cast::<u64>().read_unaligned() };
    if tag != tag_of(address, size) {
        DAMAGED.fetch_add(1, Ordering::Relaxed);
    }
}
