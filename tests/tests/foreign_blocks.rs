//! A block that came from elsewhere is freed, counted in a row of its own and in no total.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;

use std::alloc::{Layout, dealloc, realloc};

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, SiteKind, Snapshot, TallyAlloc, UnknownFrees};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// A block of libc's, with room behind it for what would be the tag.
fn foreign(bytes: usize) -> *mut u8 {
    // SAFETY: calloc has no conditions.
    let block = unsafe { libc::calloc(1, bytes + 8) };
    assert!(!block.is_null());
    block.cast()
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

/// Frees it as if it had come from the global allocator. Sound because that one is around the system's.
fn free(block: *mut u8, bytes: usize) {
    // SAFETY: the inner allocator frees with libc's `free`, whatever the layout says; the tag's place is part of the
    // block.
    unsafe { dealloc(block, layout(bytes)) };
}

fn unknown(snapshot: &Snapshot) -> Counts {
    let row = snapshot.by_function().into_iter().find(|row| row.kind() == SiteKind::UnknownFrees);
    row.map_or(Counts::ZERO, |row| row.counts())
}

#[test]
fn a_foreign_block_is_counted_apart() {
    // Before the start.
    let block = foreign(40);
    let ((), counted) = heaptally::measure(|| free(block, 40));
    assert_eq!(counted, Counts::ZERO);
    quiet_snapshot().unwrap();

    heaptally::start(Config::new().modules(["foreign_blocks"])).unwrap();
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(unknown(&snapshot), Counts { freed_blocks: 1, freed_bytes: 40, ..Counts::ZERO });

    // Freed while tracking is on, by the thread and by another.
    let (first, second) = (foreign(100), foreign(1000).expose_provenance());
    let ((), counted) = heaptally::measure(|| free(first, 100));
    assert_eq!(counted, Counts::ZERO);
    std::thread::spawn(move || free(std::ptr::with_exposed_provenance_mut(second), 1000)).join().unwrap();
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(unknown(&snapshot), Counts { freed_blocks: 3, freed_bytes: 1140, ..Counts::ZERO });
    let last = UnknownFrees { blocks: 3, bytes: 1140, last_address: second as u64, last_size: 1000 };
    assert_eq!(snapshot.losses().unknown_frees, last);
    let text = snapshot.to_string();
    assert!(text.contains("3 frees without a known allocation") && text.contains(&format!("{second:#x}")), "{text}");

    // A foreign block that grows is a free that nobody knows, and an allocation like others.
    let (grown, counted) = heaptally::measure(|| {
        // SAFETY: as in `free`, and the new size is valid.
        unsafe { realloc(foreign(24), layout(24), 48) }
    });
    assert_eq!(counted, Counts { allocated_blocks: 1, allocated_bytes: 48, ..Counts::ZERO });
    free(grown, 48);
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(unknown(&snapshot), Counts { freed_blocks: 4, freed_bytes: 1164, ..Counts::ZERO });

    // A block of this allocator's, freed with another size than it has: its own row keeps it.
    // Written to: where the shorter one's tag would be may lie the tag of a block that was there before.
    let block = vec![1_u8; 64].leak().as_mut_ptr();
    let ((), counted) = heaptally::measure(|| free(block, 56));
    assert_eq!(counted, Counts::ZERO);
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(unknown(&snapshot), Counts { freed_blocks: 5, freed_bytes: 1220, ..Counts::ZERO });
}
