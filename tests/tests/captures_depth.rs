//! Depths around the limit: what is kept of a stack is the platform unwinder's, and each block its function's.

#[path = "common/captures.rs"]
mod captures;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::hint::black_box;

use captures::{Way, assert_charged, on_two_threads, snapshot};
use heaptally::TallyAlloc;
use heaptally_tests::Random;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    captures::main(&[
        ("a limit of 1", |way| limited::<1>(way)),
        ("a limit of 2", |way| limited::<2>(way)),
        ("a limit of 20", |way| limited::<20>(way)),
        ("a limit of 512", |way| limited::<512>(way)),
    ]);
}

fn limited<const LIMIT: usize>(way: Way) {
    heaptally::start(way.config().max_depth(LIMIT)).unwrap();
    on_two_threads(|| {
        around(LIMIT);
        back_and_forth(LIMIT);
        at_random(LIMIT);
        every_level(2 * LIMIT);
    });
    let snapshot = snapshot(way);
    let levels = 2 * LIMIT as u64 + 1;
    // Each on two threads.
    let charged =
        [("captures_depth::at_depth", 2 * (40 + 100 + 1_000), 24), ("captures_depth::every_level", 2 * 2 * levels, 16)];
    // Of a single frame nothing is in this crate: it is the standard library's.
    if LIMIT > 2 {
        assert_charged(&snapshot, &charged);
    }
    assert!(snapshot.captures().truncated > 0 && snapshot.losses().truncated_stacks > 0);
    // The frame that stands for what was cut comes on top.
    let deepest = snapshot.sites().iter().map(|site| site.frames().count()).max();
    assert!(deepest.is_some_and(|deepest| deepest <= LIMIT + 1), "{deepest:?}");
}

/// Blocks of 24 bytes, charged to this function, as many calls further in.
#[inline(never)]
fn at_depth(calls: usize) {
    match calls {
        0 => drop(black_box(Box::new(black_box([0_u64; 3])))),
        _ => at_depth(calls - 1),
    }
    black_box(calls);
}

/// Depths in a row across the limit.
fn around(limit: usize) {
    let first = limit.saturating_sub(20);
    (first..first + 40).for_each(at_depth);
}

/// A few frames less than the limit, and a few more, by turns.
fn back_and_forth(limit: usize) {
    for _ in 0..50 {
        at_depth(limit.saturating_sub(7));
        at_depth(limit + 3);
    }
}

fn at_random(limit: usize) {
    let mut random = Random::new(limit as u64);
    (0..1_000).for_each(|_| at_depth(random.below(limit + 40)));
}

/// Twice the limit deep, with a block on every way down and up.
#[inline(never)]
fn every_level(calls: usize) {
    drop(black_box(Box::new(black_box([0_u64; 2]))));
    if let Some(calls) = calls.checked_sub(1) {
        every_level(calls);
    }
    drop(black_box(Box::new(black_box([0_u64; 2]))));
}
