//! Stacks that are cut: the innermost frames stay, between half the limit and all of it, what was cut says so, and
//! stacks that differ further out become few.
#![cfg(not(heaptally_portable))]

use std::hint::black_box;

use heaptally::{Counts, Site, Snapshot};
use heaptally_tests::{Block, Watched, assert_conserved, assert_exact, watched};

#[global_allocator]
static ALLOC: Watched = watched();

const DEPTH: usize = 20;

#[test]
fn the_innermost_frames_are_kept_and_the_cut_is_counted() {
    heaptally::start(heaptally::config!().max_depth(DEPTH)).expect("installed");
    let kept: Vec<Block> = [50, 60, 70, 400].into_iter().map(recurse).collect();
    assert_exact("kept");
    let snapshot = assert_conserved("kept");

    let counts = Counts { allocated_blocks: 4, allocated_bytes: 50 + 60 + 70 + 400, ..Counts::ZERO };
    assert_eq!(sum(&snapshot), counts);
    for site in sites(&snapshot) {
        // The frame that stands for what was cut is outermost.
        assert!((DEPTH / 2 + 1..=DEPTH + 1).contains(&site.frames().count()), "{}", site.frames().count());
        let outermost = site.frames().last().expect("frames");
        assert_eq!(&*outermost.lines[0].function, "(truncated)");
    }
    assert_eq!(snapshot.losses().truncated_stacks, sites(&snapshot).len() as u64);

    drop(kept);
    let snapshot = assert_conserved("freed");
    let counts = Counts { freed_blocks: 4, freed_bytes: 50 + 60 + 70 + 400, ..counts };
    assert_eq!(sum(&snapshot), counts);
}

/// Allocates `bytes` bytes that many calls further in.
#[inline(never)]
fn recurse(bytes: usize) -> Block {
    black_box(further_in(bytes, bytes))
}

#[inline(never)]
fn further_in(bytes: usize, calls: usize) -> Block {
    match calls {
        0 => black_box(Block::new(bytes, 8)),
        _ => black_box(further_in(bytes, calls - 1)),
    }
}

fn sum(snapshot: &Snapshot) -> Counts {
    sites(snapshot).iter().fold(Counts::ZERO, |sum, site| sum + site.counts())
}

fn sites(snapshot: &Snapshot) -> Vec<&Site> {
    snapshot.sites().iter().filter(|site| site.function() == "depth_limit::further_in").collect()
}
