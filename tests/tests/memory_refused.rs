//! A system that gives heaptally no memory: the program has all of its own, every byte is counted, and the snapshot
//! says what is missing. With memory again, new stacks have their rows again.
#![cfg(not(heaptally_portable))]

#[path = "common/bump.rs"]
mod bump;
#[path = "common/refusal.rs"]
mod refusal;

use bump::Bump;
use heaptally::{Config, Counts, SiteKind, Snapshot, Symbolize, TallyAlloc};
use heaptally_tests::{ASKED, Block, Oracle, SERVED, assert_conserved, assert_exact, stacks};
use refusal::Refusal;

/// The program's memory is there before the system refuses more.
#[global_allocator]
static ALLOC: Oracle<TallyAlloc<Oracle<Bump>>> = Oracle::new(TallyAlloc::new(Oracle::new(Bump, &SERVED)), &ASKED);

/// More than fit what is left of a chunk of the arena.
const STACKS: usize = 10_000;
const BLOCK_BYTES: u64 = 100;
/// While it refuses, the system is asked at every 4096th time: at the latest then there is memory again.
const LATER_STACKS: usize = 10_000;

#[test]
fn without_memory_of_its_own_heaptally_serves_and_counts_all_the_same() {
    heaptally::start(Config::new().symbolize(Symbolize::Off)).expect("installed");
    // Whatever the test's thread and the aggregator need for themselves.
    keep(0, 10).clear();
    let before = assert_conserved("started");
    assert_eq!(before.losses().failed_mappings, 0);

    let refusal = Refusal::begin();
    let (kept, counts) = heaptally::measure(|| keep(10, STACKS));
    let refused = assert_conserved("refused");
    assert_exact("refused");
    drop(refusal);

    let of_vector = (STACKS * size_of::<Block>()) as u64;
    let (allocated_blocks, allocated_bytes) = (STACKS as u64 + 1, STACKS as u64 * BLOCK_BYTES + of_vector);
    assert_eq!(counts, Counts { allocated_blocks, allocated_bytes, ..Counts::ZERO });
    let losses = refused.losses();
    assert!(losses.failed_mappings > 0 && losses.overflow_stacks + losses.ring_full > 0, "{losses}");
    assert!(losses.to_string().contains("refused by the system"), "{losses}");
    let overflow = refused.function(SiteKind::Overflow.label()).expect("a row").counts();
    assert!(overflow.live_bytes() > 0, "{overflow:?}");
    println!("{overflow:?}\n{losses}");
    drop(kept);
    assert_exact("freed");

    let rows = rows_with_a_stack(&assert_conserved("before there is memory again"));
    drop(keep(STACKS + 10, LATER_STACKS));
    let later = rows_with_a_stack(&assert_conserved("memory again"));
    println!("{rows} rows with a stack, {later} with memory again");
    assert!(later > rows + LATER_STACKS / 4, "{rows} rows with a stack, {later} with memory again");
    assert_exact("memory again");
}

/// Blocks from `count` stacks beginning at a number.
fn keep(first: usize, count: usize) -> Vec<Block> {
    let mut kept = Vec::with_capacity(count);
    for number in first..first + count {
        stacks::at(number, 5, &mut || kept.push(Block::new(BLOCK_BYTES as usize, 8)));
    }
    kept
}

fn rows_with_a_stack(snapshot: &Snapshot) -> usize {
    snapshot.sites().iter().filter(|site| site.node().is_some()).count()
}
