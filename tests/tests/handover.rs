//! A thread that begins takes over the state of one that has ended: its counters go on, its blocks keep their rows.
#![cfg(not(heaptally_portable))]

use std::hint::black_box;
use std::thread;

use heaptally::{Counts, Snapshot, TallyAlloc};
use heaptally_tests::{Block, assert_conserved};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const OWNERS: u64 = 100;

#[test]
fn what_each_owner_of_a_state_did_stays_where_it_belongs() {
    // A state that has counted before the start, and is handed over then.
    let early = on_a_thread(before_start);
    heaptally::start(heaptally::config!()).expect("installed");

    // Once it has answered, the aggregator has the state of before the start; the next thread makes the one that is
    // handed on.
    assert_conserved("answered");
    drop(on_a_thread(third_owner));
    let threads = assert_conserved("started").overhead().threads;
    let first = on_a_thread(first_owner);
    let seconds: Vec<Block> = (0..OWNERS).map(|_| on_a_thread(second_owner)).collect();
    // The first owner's block, freed by a later one: the row is the first's, whose state that was.
    on_a_thread(move || {
        drop(first);
        third_owner()
    });
    let after = assert_conserved("handed over");
    assert_eq!(after.overhead().threads, threads, "one state for all of them");
    let live = |blocks, bytes| Counts { allocated_blocks: blocks, allocated_bytes: bytes, ..Counts::ZERO };
    assert_eq!(row(&after, "handover::first_owner"), Counts { freed_blocks: 1, freed_bytes: 1000, ..live(1, 1000) });
    assert_eq!(row(&after, "handover::second_owner"), live(OWNERS, OWNERS * 2000));
    assert_eq!(row(&after, "handover::third_owner"), Counts { freed_blocks: 2, freed_bytes: 6000, ..live(2, 6000) });
    assert_eq!(row(&after, "handover::before_start"), Counts::ZERO);

    drop(seconds);
    let before_start = row(&after, "(before start)").freed_bytes;
    drop(early);
    let end = assert_conserved("freed");
    assert_eq!(row(&end, "handover::second_owner").live_bytes(), 0);
    assert!(row(&end, "(before start)").freed_bytes >= before_start + 4000);
}

fn on_a_thread(f: impl FnOnce() -> Block + Send + 'static) -> Block {
    thread::spawn(f).join().expect("no panic")
}

#[inline(never)]
fn before_start() -> Block {
    black_box(Block::new(4000, 8))
}

#[inline(never)]
fn first_owner() -> Block {
    black_box(Block::new(1000, 8))
}

#[inline(never)]
fn second_owner() -> Block {
    black_box(Block::new(2000, 8))
}

#[inline(never)]
fn third_owner() -> Block {
    black_box(Block::new(3000, 8))
}

fn row(snapshot: &Snapshot, function: &str) -> Counts {
    snapshot.function(function).map_or(Counts::ZERO, |row| row.counts())
}
