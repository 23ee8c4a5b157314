//! Snapshots while blocks are freed that are older than a tick: never more of them than of all that were freed.
#![cfg(not(heaptally_portable))]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use heaptally::{Config, SiteKind, Snapshot, Symbolize, TallyAlloc};
use heaptally_tests::assert_conserved;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const BLOCKS: usize = 200_000;
const ROUNDS: usize = 3;

/// Frees all blocks that it has allocated, when they are a tick old.
fn free_old_blocks() {
    let blocks: Vec<Box<u64>> = black_box((0..BLOCKS as u64).map(Box::new).collect());
    let born = heaptally::snapshot().tick();
    while heaptally::snapshot().tick() == born {
        thread::yield_now();
    }
    drop(blocks);
}

fn assert_ages_add_up(snapshot: &Snapshot) {
    assert_eq!(snapshot.check(), Ok(()));
    // A snapshot that could not be made has one row.
    assert!(snapshot.notes().is_empty(), "{:?}", snapshot.notes());
    for site in snapshot.sites().iter().filter(|site| site.kind() != SiteKind::UnknownFrees) {
        let (counts, lifetimes) = (site.counts(), site.lifetimes());
        assert_eq!(
            lifetimes.freed_by_age.iter().map(|&blocks| u128::from(blocks)).sum::<u128>(),
            counts.freed_blocks.into()
        );
        assert!(lifetimes.temporaries <= counts.freed_blocks);
    }
}

#[test]
fn blocks_are_not_old_before_they_are_freed() {
    heaptally::start(Config::new().symbolize(Symbolize::Off)).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let freeing = scope.spawn(|| {
            (0..ROUNDS).for_each(|_| free_old_blocks());
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) && !freeing.is_finished() {
            assert_ages_add_up(&heaptally::snapshot());
        }
    });
    assert_ages_add_up(&assert_conserved("afterwards"));
}
