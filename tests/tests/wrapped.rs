//! A `TallyAlloc` inside another allocator counts as installed, and counts what that one asks it for.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, SiteKind, TallyAlloc};

/// Rounds every size up to sixteen bytes.
struct Rounding(TallyAlloc);

impl Rounding {
    fn rounded(layout: Layout) -> Layout {
        // SAFETY: the tests ask for far less than what overflows when rounded.
        unsafe { Layout::from_size_align_unchecked(layout.size().next_multiple_of(16), layout.align()) }
    }
}

// SAFETY: forwards, with the same larger layout at every entry.
unsafe impl GlobalAlloc for Rounding {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, for a layout that is not smaller.
        unsafe { self.0.alloc(Self::rounded(layout)) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: allocated with the same layout.
        unsafe { self.0.dealloc(address, Self::rounded(layout)) }
    }
}

#[global_allocator]
static ALLOC: Rounding = Rounding(TallyAlloc::system());

#[inline(never)]
fn keep_three() -> [Vec<u8>; 3] {
    black_box([1, 16, 17].map(|bytes| Vec::with_capacity(black_box(bytes))))
}

#[test]
fn a_wrapped_allocator_is_found_by_its_effect_and_counts_what_it_is_asked_for() {
    heaptally::start(Config::new().modules(["wrapped"])).unwrap();
    let (kept, counted) = heaptally::measure(keep_three);
    // 1, 16 and 17 bytes, rounded up to 16, 16 and 32.
    let expected = Counts { allocated_blocks: 3, allocated_bytes: 64, ..Counts::ZERO };
    assert_eq!(counted, expected);

    let snapshot = quiet_snapshot().unwrap();
    let rows = snapshot.by_function();
    let keep_three = rows.iter().filter(|row| row.function().starts_with("wrapped::keep_three"));
    assert_eq!(keep_three.fold(Counts::ZERO, |sum, row| sum + row.counts()), expected);
    // The wrapper is on every stack, and nobody's owner of memory: its callers are.
    let owned_by_wrapper =
        rows.iter().find(|row| row.kind() == SiteKind::Module && row.function().contains("Rounding"));
    assert!(owned_by_wrapper.is_none(), "{snapshot}");
    drop(kept);
    quiet_snapshot().unwrap();
}
