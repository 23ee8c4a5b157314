//! More stacks than heaptally was told to tell apart: the first ones keep their rows, the others share one, and no
//! byte is lost.
#![cfg(not(heaptally_portable))]

use heaptally::{Config, Counts, SiteKind};
use heaptally_tests::{Block, Watched, assert_conserved, assert_exact, stacks, watched};

#[global_allocator]
static ALLOC: Watched = watched();

const LIMIT: u64 = 40;
const STACKS: usize = 1000;

#[test]
fn stacks_beyond_the_limit_are_counted_in_one_row() {
    heaptally::start(Config::new().max_stacks(LIMIT as u32)).expect("installed");
    let mut kept = Vec::with_capacity(STACKS);
    let counts = heaptally::measure(|| {
        for number in 0..STACKS {
            stacks::at(number, 3, &mut || kept.push(Block::new(100, 8)));
        }
    });
    assert_eq!(counts.1, Counts { allocated_blocks: 1000, allocated_bytes: 100_000, ..Counts::ZERO });
    assert_exact("kept");

    let snapshot = assert_conserved("kept");
    let overhead = snapshot.overhead();
    assert_eq!((overhead.stacks, overhead.stacks_limit), (LIMIT, LIMIT));
    let overflow = snapshot.function(SiteKind::Overflow.label()).expect("a row").counts();
    assert!(overflow.live_blocks() >= (STACKS as u64 - LIMIT) as i64, "{overflow:?}");
    assert_eq!(snapshot.losses().overflow_stacks, overflow.allocated_blocks);
    let attributed = snapshot.sites().iter().filter(|site| site.node().is_some());
    assert!(attributed.count() > 1);

    drop(kept);
    let freed = assert_conserved("freed");
    let overflow = freed.function(SiteKind::Overflow.label()).expect("a row").counts();
    // What the harness and the test itself hold by then, perhaps; none of the blocks.
    assert!(overflow.live_bytes() < 100_000 / 2, "{overflow:?}");
    assert_exact("freed");
}
