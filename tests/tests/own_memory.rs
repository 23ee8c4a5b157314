//! A program that goes on allocating from the stacks it has shown costs no more memory: heaptally does not leak.
#![cfg(not(heaptally_portable))]

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use heaptally::{Config, Overhead, Symbolize, TallyAlloc, TickNumber};
use heaptally_tests::{assert_conserved, resident_bytes, stacks};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const STACKS: usize = 1000;
/// A million captures.
const ROUNDS: usize = 1_000_000 / STACKS;
/// The first captures, one of each stack: they find its id, and counters for it and those around it. Their blocks are
/// freed a tick later, so that there are counters for ages as well.
const FIRST_ROUNDS: usize = 1;
const LEAF_BYTES: usize = 16;
/// A few pages may be touched for the first time by anyone in the process: the harness, the heap's top, a deeper
/// stack. One leaked byte for each capture would be more.
const TOLERANCE_BYTES: u64 = 128 << 10;

#[test]
fn captures_of_known_stacks_take_no_memory() {
    // Without symbols: their caches come and go, and would hide what is looked for.
    heaptally::start(Config::new().symbolize(Symbolize::Off)).expect("installed");
    // One call for both: the measured rounds have the stacks of the first ones, the test's own frame included.
    let mut before = None;
    for rounds in [FIRST_ROUNDS, ROUNDS] {
        let begun = Instant::now();
        for _ in 0..rounds {
            let kept = every_stack_once(rounds == FIRST_ROUNDS);
            if !kept.is_empty() {
                thread::sleep(TickNumber::LENGTH * 2);
            }
        }
        println!("{rounds} rounds in {:?}", begun.elapsed());
        // The aggregator makes the second of two snapshots from buffers that it has.
        assert_conserved("first");
        let lasting = lasting(assert_conserved("second").overhead());
        let resident_bytes = resident_bytes();
        let Some((resident_before, lasting_before)) = before.replace((resident_bytes, lasting)) else { continue };
        let grown = resident_bytes.saturating_sub(resident_before);
        println!("{grown} bytes more are resident");
        assert!(grown <= TOLERANCE_BYTES, "{grown} bytes more are resident");
        assert_eq!(lasting, lasting_before);
    }
    let sites = assert_conserved("all").sites().to_vec();
    let bytes = (LEAF_BYTES * (FIRST_ROUNDS + ROUNDS)) as u64;
    assert_eq!(sites.iter().filter(|site| site.counts().allocated_bytes == bytes).count(), STACKS);
}

#[expect(clippy::vec_box, reason = "the blocks are what is counted")]
fn every_stack_once(keep: bool) -> Vec<Box<[u8; LEAF_BYTES]>> {
    let mut kept = Vec::with_capacity(if keep { STACKS } else { 0 });
    for number in 0..STACKS {
        stacks::at(number, 3, &mut || {
            let block = black_box(Box::new([0_u8; LEAF_BYTES]));
            if keep {
                kept.push(block);
            }
        });
    }
    kept
}

/// What heaptally never gives back.
fn lasting(overhead: &Overhead) -> [u64; 4] {
    [overhead.stacks, overhead.arena_bytes, overhead.counter_page_bytes, overhead.ring_bytes]
}
