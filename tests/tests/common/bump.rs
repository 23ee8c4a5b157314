//! An allocator that may be called from a signal handler that interrupted it: blocks are cut from one arena, and none
//! is reused.
//!
//! Stands inside the global allocator; any thread. One atomic addition, no lock. The arena is address space until it
//! is touched.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use address_space::AddressSpace;

#[path = "address_space.rs"]
pub(crate) mod address_space;

const ARENA_BYTES: usize = 8 << 30;

/// See the module's head.
pub(crate) struct Bump;

static ARENA: AddressSpace<ARENA_BYTES> = AddressSpace::new();
static USED_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: blocks are inside the arena, aligned, of the size asked for, and never handed out twice.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.size() + layout.align() - 1;
        let offset = USED_BYTES.fetch_add(room, Ordering::Relaxed);
        if offset + room > ARENA_BYTES {
            return ptr::null_mut();
        }
        // SAFETY: inside the arena.
        let start = unsafe { ARENA.base().add(offset) };
        // SAFETY: `room` has what the alignment takes.
        unsafe { start.add(start.align_offset(layout.align())) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
