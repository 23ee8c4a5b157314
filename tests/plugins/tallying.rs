//! A library that is loaded at run time, with a heaptally and a global allocator of its own. Built and loaded by
//! `tests/tallying_plugin.rs`, which calls its functions by name, on any thread.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;

use heaptally::{Config, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const LAYOUT: Layout = Layout::new::<[u64; 5]>();

/// A block of 40 bytes.
#[unsafe(no_mangle)]
extern "C" fn plugin_allocate() -> *mut u8 {
    black_box(block())
}

#[inline(never)]
fn block() -> *mut u8 {
    // SAFETY: not of zero size.
    black_box(unsafe { alloc(LAYOUT) })
}

/// Frees a block of [`plugin_allocate`].
///
/// # Safety
///
/// Not freed yet.
// SAFETY: no other function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn plugin_free(block: *mut u8) {
    // SAFETY: the caller's.
    unsafe { dealloc(block, LAYOUT) };
}

/// What is live by this library's own account.
#[unsafe(no_mangle)]
extern "C" fn plugin_live_bytes() -> u64 {
    heaptally::totals().live_bytes()
}

/// Whether tracking is on now.
#[unsafe(no_mangle)]
extern "C" fn plugin_start() -> bool {
    heaptally::start(Config::new().modules(["tallying"])).is_ok()
}

/// Blocks that [`plugin_allocate`] has allocated while tracking was on, in a snapshot that passes its check; `u64::MAX`
/// if it does not.
#[unsafe(no_mangle)]
extern "C" fn plugin_allocated_blocks() -> u64 {
    let snapshot = heaptally::snapshot();
    if snapshot.check().is_err() {
        return u64::MAX;
    }
    snapshot.function("tallying::block").map_or(0, |row| row.counts().allocated_blocks)
}
