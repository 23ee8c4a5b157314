//! The `main` of every subject with heaptally: tracking with default settings over the workloads.
//!
//! After the measurement the process takes a snapshot, and fails if the numbers are not conserved, if any block was
//! allocated without being charged to a stack, or if one was not known when it was freed: fast and wrong is no result.
//!
//! All is inline, so that it is compiled in the subject's own crate: where that holds nothing but
//! the allocator and one call, the allocator is compiled otherwise, and a pair takes three instructions less.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use heaptally::{SiteKind, Symbolize};
use workloads::{Hooks, Measured};

/// Measures what the command line names. The caller's program has a `TallyAlloc` as its global allocator.
#[inline]
pub fn run() {
    workloads::run_tracked(Hooks { start, end, own_bytes });
}

#[inline]
fn start(measured: Measured) {
    let symbolize = if measured == Measured::Memory { Symbolize::Off } else { Symbolize::Full };
    let tally = heaptally::start(heaptally::config!().symbolize(symbolize)).expect("heaptally starts");
    if measured == Measured::Paused {
        tally.pause();
    }
}

#[inline]
fn end() -> Result<(), String> {
    let snapshot = heaptally::snapshot();
    snapshot.check().map_err(|violation| format!("not conserved: {violation}"))?;
    let (mut stacks, mut paused_blocks) = (0, 0);
    for site in snapshot.sites() {
        // Blocks ever allocated, not only live ones: most workloads have freed everything by now.
        let blocks = site.counts().allocated_blocks;
        match site.kind() {
            SiteKind::Module | SiteKind::Other => stacks += 1,
            SiteKind::Paused => paused_blocks = blocks,
            _ => {}
        }
        if matches!(site.kind(), SiteKind::NoStack | SiteKind::Overflow | SiteKind::Teardown | SiteKind::Untagged)
            && blocks > 0
        {
            return Err(format!("unattributed: {} allocated {blocks} blocks", site.function()));
        }
    }
    let blocks = snapshot.totals().allocated_blocks;
    eprintln!("heaptally: {blocks} blocks, {paused_blocks} of them while paused, {stacks} stacks");
    match snapshot.losses().unknown_frees.blocks {
        0 => Ok(()),
        blocks => Err(format!("{blocks} blocks were not known when they were freed")),
    }
}

#[inline]
fn own_bytes() -> u64 {
    let snapshot = heaptally::snapshot();
    let overhead = snapshot.overhead();
    // The memory of tags is what is measured.
    overhead.own_bytes() - overhead.tag_bytes - overhead.page_map_bytes
}
