//! The smallest rings: stacks that find no room are kept by their ends for a while, or are counted in one row, and after
//! each drain there is room again.
#![cfg(not(heaptally_portable))]

use std::collections::BTreeSet;

use heaptally::{Config, Site, SiteKind, Snapshot};
use heaptally_tests::{Watched, assert_conserved, assert_exact, stacks, watched};

#[global_allocator]
static ALLOC: Watched = watched();

const STACKS: usize = 1000;
const ROUNDS: usize = 1000;

#[test]
fn a_tiny_ring_loses_frames_for_a_while_and_never_a_byte() {
    heaptally::start(Config::new().ring_bytes(1)).expect("installed");
    // Faster than the aggregator, which on a quiet machine keeps up for a while.
    let mut snapshot = assert_conserved("started");
    let mut first = STACKS;
    while snapshot.losses().shortened_stacks == 0 {
        assert!(first <= ROUNDS * STACKS, "the ring was never full: {}", snapshot.losses());
        (first..first + STACKS).for_each(|number| stacks::at(number, 7, &mut || drop(Box::new([0_u8; 100]))));
        first += STACKS;
        snapshot = assert_conserved("filled");
    }
    // A snapshot drains the rings: by and by, every stack finds room.
    let mut rounds = 0;
    while whole_stacks(&snapshot).len() < STACKS {
        for number in 0..STACKS {
            stacks::at(number, 3, &mut || drop(Box::new([0_u8; 100])));
        }
        rounds += 1;
        assert!(rounds <= ROUNDS, "{} stacks after {rounds} rounds", whole_stacks(&snapshot).len());
        snapshot = assert_conserved("in between");
    }
    assert_exact("every stack found room");

    // What is recorded as new of a stack after others were cut is new of the right one.
    assert_eq!(whole_stacks(&snapshot), (0..STACKS).collect());
    let losses = snapshot.losses();
    assert!(losses.ring_full > 0, "{losses}");
    let overflow = snapshot.function(SiteKind::Overflow.label()).map_or_else(Default::default, |row| row.counts());
    assert_eq!((overflow.allocated_blocks, overflow.live_blocks()), (losses.overflow_stacks, 0));
    assert!(losses.overflow_stacks <= losses.ring_full, "{losses}");
    assert!(snapshot.overhead().ring_limit_bytes <= 64 << 10);
    println!("{rounds} rounds, {losses}");
}

/// The numbers of the stacks above that are there with all their frames.
fn whole_stacks(snapshot: &Snapshot) -> BTreeSet<usize> {
    snapshot.sites().iter().filter_map(number).collect()
}

fn number(site: &Site) -> Option<usize> {
    const DIGITS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    if site.frames().last()?.lines.iter().any(|line| &*line.function == "(truncated)") {
        return None;
    }
    let functions = site.frames().flat_map(|frame| frame.lines.iter()).map(|line| &*line.function);
    let digits: Vec<usize> = functions
        .filter_map(|function| function.strip_prefix("heaptally_tests::stacks::"))
        .filter_map(|name| DIGITS.iter().position(|digit| *digit == name))
        .collect();
    // The last digit was called first: it is outermost.
    (digits.len() == 3).then(|| digits.into_iter().fold(0, |number, digit| number * 10 + digit))
}
