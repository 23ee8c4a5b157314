//! Stacks in great number: each capture is the platform unwinder's, and each block its function's.

#[path = "common/captures.rs"]
mod captures;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::hint::black_box;

use captures::{Way, assert_charged, on_two_threads, snapshot};
use heaptally::{Snapshot, TallyAlloc};
use heaptally_tests::stacks;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    captures::main(&[
        ("a burst of thousands", a_burst_of_thousands),
        ("a hundred thousand in one thread", a_hundred_thousand_in_one_thread),
    ]);
}

/// A block of 24 bytes, charged to this function.
#[inline(never)]
fn leaf() {
    drop(black_box(Box::new(black_box([0_u64; 3]))));
}

fn a_burst_of_thousands(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| (0..5_000).for_each(|number| stacks::at(number, 4, &mut leaf)));
    let snapshot = snapshot(way);
    assert_charged(&snapshot, &[("captures_many::leaf", 2 * 5_000, 24)]);
    assert_eq!(sites_of_leaf(&snapshot), 2 * 5_000);
}

fn a_hundred_thousand_in_one_thread(way: Way) {
    // The ring of a thread that is this fast must hold them: 300 bytes each.
    heaptally::start(way.config().ring_bytes(64 << 20)).unwrap();
    captures::some_alike();
    // Unoptimized, the aggregator takes seconds for them.
    let stacks = match way {
        Way::Reusing => 100_000,
        Way::Fresh | Way::Unverified if cfg!(debug_assertions) => 10_000,
        Way::Fresh | Way::Unverified => 100_000,
    };
    // 7,919 is prime to both: all of them, each unlike the one before, three blocks on each.
    (0..stacks).for_each(|number| stacks::at(number * 7_919 % stacks, 5, &mut || (0..3).for_each(|_| leaf())));
    let snapshot = snapshot(way);
    assert_charged(&snapshot, &[("captures_many::leaf", 3 * stacks as u64, 24)]);
    // Optimized, three call sites may have been made of one.
    assert!(sites_of_leaf(&snapshot).is_multiple_of(stacks));
}

fn sites_of_leaf(snapshot: &Snapshot) -> usize {
    snapshot.sites().iter().filter(|site| site.function() == "captures_many::leaf").count()
}
