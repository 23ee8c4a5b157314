//! The smallest rings: stacks that find no room are counted in one row, and after each drain there is room again.
#![cfg(not(heaptally_portable))]

use heaptally::{Config, SiteKind, Snapshot};
use heaptally_tests::{Watched, assert_conserved, assert_exact, stacks, watched};

#[global_allocator]
static ALLOC: Watched = watched();

const STACKS: usize = 1000;
const ROUNDS: usize = 1000;

#[test]
fn a_tiny_ring_loses_attribution_for_a_while_and_never_a_byte() {
    heaptally::start(Config::new().ring_bytes(1)).expect("installed");
    // A snapshot drains the rings: by and by, every stack finds room.
    let mut snapshot = assert_conserved("started");
    let mut rounds = 0;
    while with_a_stack(&snapshot) < STACKS {
        for number in 0..STACKS {
            stacks::at(number, 3, &mut || drop(Box::new([0_u8; 100])));
        }
        rounds += 1;
        assert!(rounds <= ROUNDS, "{} stacks after {rounds} rounds", with_a_stack(&snapshot));
        snapshot = assert_conserved("in between");
    }
    assert_exact("every stack found room");

    let refused = snapshot.losses().ring_full;
    assert!(refused > 0, "the ring was never full");
    let overflow = snapshot.function(SiteKind::Overflow.label()).expect("a row").counts();
    assert_eq!((overflow.allocated_blocks, overflow.live_blocks()), (refused, 0));
    assert!(snapshot.overhead().ring_limit_bytes <= 64 << 10);
    println!("{rounds} rounds, {refused} blocks without room");
}

/// Stacks of the calls above.
fn with_a_stack(snapshot: &Snapshot) -> usize {
    let through_steps = |site: &&heaptally::Site| {
        site.function() == "heaptally_tests::stacks::at"
            || site.frames().any(|frame| frame.lines.iter().any(|line| line.function.contains("stacks::at")))
    };
    snapshot.sites().iter().filter(through_steps).count()
}
