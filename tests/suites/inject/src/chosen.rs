//! The allocator inside heaptally: which one, the environment says at the first allocation.
//!
//! Called inside the allocator, on any thread: does not allocate itself. One build is run over all of them so.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CStr;
use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(feature = "mimalloc")]
use mimalloc::MiMalloc;
#[cfg(feature = "jemalloc")]
use tikv_jemallocator::Jemalloc;

/// One of those that are built. What the variable says does not change in the life of a process, and neither does this.
pub(crate) struct Chosen;

const UNKNOWN: u8 = 0;
const SYSTEM: u8 = 1;
#[cfg(feature = "jemalloc")]
const JEMALLOC: u8 = 2;
#[cfg(feature = "mimalloc")]
const MIMALLOC: u8 = 3;

static CHOICE: AtomicU8 = AtomicU8::new(UNKNOWN);

fn choice() -> u8 {
    // Relaxed: whoever reads too early asks the environment, and finds the same.
    match CHOICE.load(Ordering::Relaxed) {
        UNKNOWN => {
            // SAFETY: nobody changes this variable, so the text stays.
            let name = unsafe {
                let text = libc::getenv(c"HEAPTALLY_SUITES_INNER".as_ptr());
                if text.is_null() { c"" } else { CStr::from_ptr(text) }
            };
            let choice = match name.to_bytes() {
                #[cfg(feature = "jemalloc")]
                b"jemalloc" => JEMALLOC,
                #[cfg(feature = "mimalloc")]
                b"mimalloc" => MIMALLOC,
                _ => SYSTEM,
            };
            CHOICE.store(choice, Ordering::Relaxed);
            choice
        }
        known => known,
    }
}

// SAFETY: hands everything to one allocator, always the same one.
unsafe impl GlobalAlloc for Chosen {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe {
            match choice() {
                #[cfg(feature = "jemalloc")]
                JEMALLOC => Jemalloc.alloc(layout),
                #[cfg(feature = "mimalloc")]
                MIMALLOC => MiMalloc.alloc(layout),
                _ => System.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe {
            match choice() {
                #[cfg(feature = "jemalloc")]
                JEMALLOC => Jemalloc.alloc_zeroed(layout),
                #[cfg(feature = "mimalloc")]
                MIMALLOC => MiMalloc.alloc_zeroed(layout),
                _ => System.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise; the allocator that the block is from.
        unsafe {
            match choice() {
                #[cfg(feature = "jemalloc")]
                JEMALLOC => Jemalloc.dealloc(address, layout),
                #[cfg(feature = "mimalloc")]
                MIMALLOC => MiMalloc.dealloc(address, layout),
                _ => System.dealloc(address, layout),
            }
        }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise; the allocator that the block is from.
        unsafe {
            match choice() {
                #[cfg(feature = "jemalloc")]
                JEMALLOC => Jemalloc.realloc(address, layout, new_size),
                #[cfg(feature = "mimalloc")]
                MIMALLOC => MiMalloc.realloc(address, layout, new_size),
                _ => System.realloc(address, layout, new_size),
            }
        }
    }
}
