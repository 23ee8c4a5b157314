//! Two million stacks, by a recursion with two call sites: each block keeps its owner, though half of the stacks are kept
//! by their innermost frames alone.
#![cfg(not(heaptally_portable))]

use std::hint::black_box;
use std::time::Instant;

use heaptally::{Config, Counts, SiteKind, TallyAlloc};
use heaptally_tests::assert_conserved;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// Calls below the first.
const DEPTH: u32 = 20;
const NODES: u64 = (1 << (DEPTH + 1)) - 1;
const BLOCK_BYTES: u64 = 24;
/// The leaves whose number in the order of the calls is a multiple of this are kept.
const KEPT_EVERY: u64 = 1 << 10;

#[test]
fn a_tree_of_two_million_stacks_keeps_its_owner_and_its_bytes() {
    heaptally::start(Config::new().modules(["deep_recursion"])).expect("installed");
    let mut kept = Vec::with_capacity(((1 << DEPTH) / KEPT_EVERY) as usize);
    let begun = Instant::now();
    black_box(grow(DEPTH, 0, &mut kept));
    let grown = begun.elapsed();
    let snapshot = assert_conserved("grown");
    println!("grown in {grown:?}, read in {:?}\n{:?}", begun.elapsed() - grown, snapshot.overhead());

    let live = kept.len() as u64;
    assert_eq!(live, (1 << DEPTH) / KEPT_EVERY);
    let expected = Counts {
        allocated_blocks: NODES,
        allocated_bytes: NODES * BLOCK_BYTES,
        freed_blocks: NODES - live,
        freed_bytes: (NODES - live) * BLOCK_BYTES,
    };
    let rows = snapshot.by_function();
    let counts = |function| rows.iter().find(|row| row.function() == function).map_or(Counts::ZERO, |row| row.counts());
    assert_eq!(counts("deep_recursion::grow"), expected);
    assert_eq!(counts(SiteKind::Overflow.label()), Counts::ZERO);
    let (losses, overhead) = (snapshot.losses(), snapshot.overhead());
    assert_eq!((losses.overflow_stacks, losses.no_stack_failed, losses.truncated_stacks), (0, 0, 0), "{losses}");
    // All that there was room for is whole; the ends of the others are few.
    assert!(overhead.stacks >= overhead.stacks_limit, "{overhead:?}");
    assert!((1..1 << 17).contains(&losses.shortened_stacks), "{losses}");
}

/// A block at each call; `path` says which calls led here.
#[inline(never)]
#[allow(clippy::vec_box, reason = "what is kept is the block that the call has allocated")]
fn grow(depth: u32, path: u64, kept: &mut Vec<Box<[u64; 3]>>) -> u64 {
    let block = black_box(Box::new(black_box([path; 3])));
    if depth == 0 {
        if path.is_multiple_of(KEPT_EVERY) {
            kept.push(block);
        }
        return 1;
    }
    let left = black_box(grow(depth - 1, path * 2, kept));
    let right = black_box(grow(depth - 1, path * 2 + 1, kept));
    black_box(&block);
    left + right
}
