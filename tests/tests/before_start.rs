//! What there is before `start`, and what becomes of it afterwards.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/settled.rs"]
mod settled;

use std::hint::black_box;
use std::thread;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, SiteKind, Snapshot, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// More than anything else in this process.
const BYTES: usize = 3_000_000;

fn before_start(snapshot: &Snapshot) -> Counts {
    snapshot.function("(before start)").unwrap().counts()
}

#[test]
fn everything_is_in_one_row_until_start_and_leaves_it_when_it_is_freed() {
    settled::settled();
    assert!(heaptally::tally().is_none());

    let before = heaptally::totals();
    let kept: Vec<Vec<u8>> = black_box((0..3).map(|_| Vec::with_capacity(BYTES)).collect());
    drop(black_box(Vec::<u8>::with_capacity(500)));
    // Three blocks, one of 500 bytes that is gone again, and the vector of three headers of 24 bytes.
    let counted = heaptally::totals() - before;
    assert_eq!(counted, Counts { allocated_blocks: 5, allocated_bytes: 9_000_572, freed_blocks: 1, freed_bytes: 500 });
    assert_eq!(ALLOC.live_bytes(), before.live_bytes() + 9_000_072);
    assert_eq!(ALLOC.totals(), heaptally::totals());

    let snapshot = quiet_snapshot().unwrap();
    let kinds: Vec<SiteKind> = snapshot.sites().iter().map(|site| site.kind()).collect();
    assert_eq!(kinds, [SiteKind::BeforeStart]);
    assert!(snapshot.to_string().contains("(before start)"), "{snapshot}");

    heaptally::start(Config::new().modules(["before_start"])).unwrap();
    let [first, second, third]: [Vec<u8>; 3] = kept.try_into().unwrap();
    let earlier = quiet_snapshot().unwrap();

    drop(first);
    thread::spawn(move || drop(second)).join().unwrap();
    let later = quiet_snapshot().unwrap();
    let change = before_start(&later) - before_start(&earlier);
    // One block freed by the thread that allocated it, one by a thread that came after the start.
    assert_eq!(change, Counts { freed_blocks: 2, freed_bytes: 2 * BYTES as u64, ..Counts::ZERO });

    // Growing it makes it a block of the present.
    let third = black_box(grown(third));
    let latest = quiet_snapshot().unwrap();
    let change = before_start(&latest) - before_start(&later);
    assert_eq!(change, Counts { freed_blocks: 1, freed_bytes: BYTES as u64, ..Counts::ZERO });
    let row = latest.function("before_start::grown").unwrap();
    let counted = Counts { allocated_blocks: 1, allocated_bytes: 2 * BYTES as u64, ..Counts::ZERO };
    assert_eq!((row.kind(), row.counts()), (SiteKind::Module, counted));
    drop(third);
}

#[inline(never)]
fn grown(mut block: Vec<u8>) -> Vec<u8> {
    block.reserve_exact(black_box(2 * BYTES));
    block
}
