//! While tracking is paused, blocks are counted in one row; their frees, and those of others, where they belong.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;

use std::hint::black_box;
use std::thread;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, SiteKind, Snapshot, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

#[inline(never)]
fn keep(blocks: usize, bytes: usize) -> Vec<Vec<u8>> {
    black_box((0..blocks).map(|_| Vec::with_capacity(black_box(bytes))).collect())
}

fn kept(snapshot: &Snapshot) -> Counts {
    let rows = snapshot.by_function();
    let of_keep = rows.iter().filter(|row| row.function().starts_with("pause::keep"));
    of_keep.fold(Counts::ZERO, |sum, row| sum + row.counts())
}

fn paused(snapshot: &Snapshot) -> Counts {
    snapshot.by_function().iter().find(|row| row.kind() == SiteKind::Paused).map_or(Counts::ZERO, |row| row.counts())
}

#[test]
fn a_pause_moves_allocations_to_one_row_and_loses_nothing() {
    let tally = heaptally::start(Config::new().modules(["pause"])).unwrap();
    let first = keep(4, 1000);
    let snapshot = quiet_snapshot().unwrap();
    // Four blocks, and the vector of their headers: 4 times 24 bytes.
    assert_eq!(kept(&snapshot), Counts { allocated_blocks: 5, allocated_bytes: 4096, ..Counts::ZERO });
    assert_eq!(paused(&snapshot), Counts::ZERO);

    tally.pause();
    tally.pause();
    let second = keep(2, 70_000);
    let third = thread::spawn(|| keep(1, 600_000)).join().unwrap();
    drop(first);
    let during = quiet_snapshot().unwrap();
    // The blocks of before are freed in the row they are in; the new ones are in no row of `keep`.
    let all_freed = Counts { allocated_blocks: 5, allocated_bytes: 4096, freed_blocks: 5, freed_bytes: 4096 };
    assert_eq!(kept(&during), all_freed);
    assert!(paused(&during).live_bytes() >= 740_048 + 24, "{during}");

    tally.resume();
    // What the row has beside `second` and `third` (the test's own, the thread's) is live or freed by now for good.
    let before = tally.snapshot();
    drop((second, third));
    let after = quiet_snapshot().unwrap();
    // 2 · 70,000 + 48, and 600,000 + 24.
    let freed = Counts { freed_blocks: 5, freed_bytes: 740_072, ..Counts::ZERO };
    assert_eq!(paused(&after) - paused(&before), freed);
    let fourth = keep(1, 8);
    let resumed = kept(&tally.snapshot()) - all_freed;
    assert_eq!(resumed, Counts { allocated_blocks: 2, allocated_bytes: 32, ..Counts::ZERO });
    drop(fourth);
}
