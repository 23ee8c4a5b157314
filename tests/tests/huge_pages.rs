//! A system that backs whatever it can with pages of 2 MiB does not back the page map's roots with them, few of which are
//! ever touched.
//!
//! Where the system does so only when it is asked to, the test asks for all statics of the program; where it never does,
//! there is nothing to see. What it does it does before `main`, when nobody has had a large block yet.
#![cfg(not(heaptally_portable))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use heaptally::TallyAlloc;

#[global_allocator]
static ALLOC: TallyAlloc<Far> = TallyAlloc::new(Far);

const PAGE_BYTES: usize = 4096;
/// Of one block, which lies in the middle of all addresses, as its root does of all roots.
const FAR_BYTES: usize = 12_345_678;
const FAR: usize = 1 << 46;

/// Before and after there was a large block.
static HUGE_BYTES: [AtomicU64; 2] = [const { AtomicU64::new(u64::MAX) }; 2];

/// The system, but for that block.
struct Far;

// SAFETY: the system's blocks are as good as its own; nobody touches the other one.
unsafe impl GlobalAlloc for Far {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() == FAR_BYTES {
            return ptr::without_provenance_mut(FAR);
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() != FAR_BYTES {
            // SAFETY: the caller's promise.
            unsafe { System.dealloc(block, layout) };
        }
    }
}

/// Where the statics that are zero at first begin and end.
fn zeroed_statics() -> [usize; 2] {
    unsafe extern "C" {
        static __bss_start: u8;
        static _end: u8;
    }
    [(&raw const __bss_start).addr(), (&raw const _end).addr()]
}

/// Bytes of them in pages of 2 MiB, as the kernel tells. Allocates nothing.
fn huge_bytes() -> Option<u64> {
    let [begin, end] = zeroed_statics();
    let mut buffer = [0_u8; 1 << 16];
    let mut len = 0;
    let mut file = File::open("/proc/self/smaps").ok()?;
    loop {
        match file.read(&mut buffer[len..]).ok()? {
            0 => break,
            more => len += more,
        }
    }
    let mut is_ours = false;
    let mut bytes = 0;
    for line in str::from_utf8(&buffer[..len]).ok()?.lines() {
        if let Some(kib) = line.strip_prefix("AnonHugePages:") {
            bytes += u64::from(is_ours) * (kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10);
        } else if let Some((from, rest)) = line.split_once('-')
            && let Some((to, _)) = rest.split_once(' ')
            && let Ok(from) = usize::from_str_radix(from, 16)
            && let Ok(to) = usize::from_str_radix(to, 16)
        {
            is_ours = from < end && begin < to;
        }
    }
    Some(bytes)
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn before_main() {
        let [begin, end] = zeroed_statics().map(|address| address / PAGE_BYTES * PAGE_BYTES);
        // SAFETY: advice on mapped memory that changes no contents; a refusal changes nothing.
        unsafe { libc::madvise(ptr::without_provenance_mut(begin), end - begin, libc::MADV_HUGEPAGE) };
        drop(black_box(Box::new(1)));
        let note = |place: usize| HUGE_BYTES[place].store(huge_bytes().unwrap_or(u64::MAX), Ordering::Relaxed);
        note(0);
        drop(black_box(Vec::<u8>::with_capacity(FAR_BYTES)));
        note(1);
    }
    before_main
};

#[test]
fn the_roots_take_no_huge_page() {
    let [before, after] = HUGE_BYTES.each_ref().map(|bytes| bytes.load(Ordering::Relaxed));
    assert!(before < u64::MAX && after < u64::MAX, "no /proc");
    assert_eq!(before, after);
    assert_eq!(heaptally::totals().allocated_bytes / FAR_BYTES as u64, 1);
}
