//! Stacks that are cut: the innermost frames stay, what was cut says so, and stacks that differ further out become
//! one.
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

    let [site] = &sites(&snapshot)[..] else { panic!("one stack: {snapshot:#}") };
    let counts = Counts { allocated_blocks: 4, allocated_bytes: 50 + 60 + 70 + 400, ..Counts::ZERO };
    assert_eq!(site.counts(), counts);
    // The frame that stands for what was cut is outermost.
    assert_eq!(site.frames().count(), DEPTH + 1);
    let outermost = site.frames().last().expect("frames");
    assert_eq!(&*outermost.lines[0].function, "(truncated)");
    assert!(snapshot.losses().truncated_stacks >= 1);

    drop(kept);
    let snapshot = assert_conserved("freed");
    let counts = Counts { freed_blocks: 4, freed_bytes: 50 + 60 + 70 + 400, ..counts };
    assert_eq!(sites(&snapshot)[0].counts(), counts);
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

fn sites(snapshot: &Snapshot) -> Vec<&Site> {
    snapshot.sites().iter().filter(|site| site.function() == "depth_limit::further_in").collect()
}
