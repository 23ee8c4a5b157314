//! The first snapshot, which looks up the names of all stacks so far, shows the memory that this takes.
#![cfg(not(heaptally_portable))]

use std::hint::black_box;

use heaptally::{Config, Snapshot, TallyAlloc};
use heaptally_tests::stacks;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const STACKS: usize = 1000;

#[test]
fn the_first_snapshot_has_the_memory_that_its_symbols_take() {
    heaptally::start(Config::new().modules(["first_snapshot", "heaptally_tests"])).expect("installed");
    for number in 0..STACKS {
        stacks::at(number, 3, &mut || drop(black_box(Box::new([0_u8; 16]))));
    }
    let first = heaptally::snapshot();
    let second = heaptally::snapshot();
    let (own_first, own_second) = (own_bytes(&first), own_bytes(&second));
    println!("own memory: {own_first} bytes in the first snapshot, {own_second} in the second");
    assert!(first.overhead().symbolize_ns > 0);
    // The sites of the first snapshot are made after its counters were read, and are in the second. They are a small
    // part of what the parsed debug information takes.
    assert!(own_first * 10 >= own_second * 9, "{own_first} bytes in the first snapshot, {own_second} in the second");
}

fn own_bytes(snapshot: &Snapshot) -> u64 {
    snapshot.overhead().internal_live_bytes
}
