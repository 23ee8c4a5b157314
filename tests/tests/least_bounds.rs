//! Bounds as narrow as they can be set, and as wide, while threads allocate and snapshots are taken: rows add up, what
//! found no room is shown, and nothing takes more than it may.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use conserved::quiet_snapshot;
use heaptally::{Config, Losses, Overhead, SiteKind, Symbolize, TallyAlloc};
use heaptally_tests::stacks;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const THREADS: usize = 4;
/// Of each thread; there are 1000 stacks of `stacks`, 18 calls deep, and more with what lies around it.
const BLOCKS: usize = 3000;

/// Runs threads that allocate and free on a thousand stacks, and reads beside them.
fn losses_with(config: Config) -> Result<Losses, String> {
    let mapped_bytes = heaptally::snapshot().overhead().arena_mapped_bytes;
    heaptally::start(config.modules(["least_bounds"]).symbolize(Symbolize::Off)).map_err(|error| error.to_string())?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                heaptally::snapshot().check().map_err(|violation| violation.to_string())?;
            }
            Ok::<_, String>(())
        });
        let writers: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || allocate(thread))).collect();
        let ended = writers.into_iter().all(|writer| writer.join().is_ok());
        is_over.store(true, Ordering::SeqCst);
        assert!(ended);
        readers.join().map_err(|_| "the reader panicked".to_owned())?
    })?;
    let last = quiet_snapshot()?;
    let of_threads =
        last.sites().iter().filter(|site| !matches!(site.kind(), SiteKind::BeforeStart | SiteKind::Internal));
    let blocks = of_threads.fold(0, |sum, site| sum + site.counts().allocated_blocks);
    // One way or another, all are counted.
    if blocks < (THREADS * BLOCKS) as u64 {
        return Err(format!("{blocks} blocks"));
    }
    keeps_within(last.overhead(), mapped_bytes)?;
    Ok(*last.losses())
}

/// What was mapped before the start stays, whatever the limit.
fn keeps_within(overhead: &Overhead, mapped_bytes_before: u64) -> Result<(), String> {
    let in_use = [
        (overhead.arena_mapped_bytes, overhead.arena_limit_bytes.max(mapped_bytes_before)),
        (overhead.arena_bytes, overhead.arena_mapped_bytes),
        (overhead.stacks, overhead.short_stacks_limit),
        (overhead.stack_nodes, overhead.stack_nodes_limit),
        (overhead.rules, overhead.rules_limit),
        (overhead.counter_page_bytes, overhead.counter_page_limit_bytes),
        (overhead.ring_bytes, overhead.all_rings_limit_bytes),
        (overhead.threads, overhead.threads_limit),
    ];
    if in_use.iter().all(|(used, limit)| used <= limit) { Ok(()) } else { Err(format!("{overhead:?}")) }
}

fn allocate(thread: usize) {
    let mut kept = [const { None::<Box<u64>> }; 64];
    for block in 0..BLOCKS {
        // The last digit is the outermost call: the innermost frames of the stacks differ, however early they are cut.
        let number = (block * 7 + thread) % 1000 * 1_000_000;
        stacks::at(number, 9, &mut || kept[block * 13 % 64] = Some(black_box(Box::new(7))));
    }
}

/// The losses of a process with such bounds satisfy `expected`.
#[track_caller]
fn check(config: Config, expected: fn(&Losses) -> bool) {
    let outcome = child::run(|| {
        let losses = losses_with(config)?;
        if expected(&losses) { Ok(0) } else { Err(format!("{losses:?}")) }
    });
    assert_eq!(outcome, Ok(0));
}

#[test]
fn bounds_of_nothing_lose_stacks_and_no_byte() {
    let least = || Config::new().ring_bytes(0).counter_bytes(0);
    let none = || least().max_short_stacks(0);
    check(none().max_stacks(0), |losses| losses.overflow_stacks >= (THREADS * BLOCKS) as u64);
    check(none().max_stacks(1), |losses| losses.overflow_stacks > 0);
    check(none().max_stacks(100), |losses| losses.overflow_stacks > 0);
    check(none().max_stacks(100).counter_bytes(usize::MAX), |losses| losses.overflow_stacks > 0);
    check(least().max_stacks(0).max_short_stacks(1), |losses| losses.overflow_stacks > 0);
    check(least().max_stacks(0), |losses| losses.shortened_stacks > 0);
    check(least().max_stacks(100), |losses| losses.shortened_stacks > 0);
    check(least().all_rings_bytes(0), |losses| losses.ring_full > 0 && losses.shortened_stacks > 0);
    // A cut stack of one frame is its leaf.
    check(least().max_depth(1), |losses| losses.truncated_stacks > 0 && losses.overflow_stacks == 0);
}

#[test]
fn tables_that_may_not_grow_lose_stacks_and_no_byte() {
    check(Config::new().arena_bytes(0), |losses| losses.refused_by_arena_limit > 0 && losses.failed_mappings == 0);
    // From three quarters on stacks are short, so that the rest may do.
    check(Config::new().arena_bytes(1 << 20), |losses| losses.shortened_stacks > 0);
    check(Config::new().max_stack_nodes(0), |losses| losses.unstored_stacks > 0);
    check(Config::new().max_stack_nodes(1), |losses| losses.unstored_stacks > 0);
    check(Config::new().max_stack_nodes(400), |losses| losses.unstored_stacks > 0);
    // All that finds no room whole has an end that does.
    let ends = |losses: &Losses| losses.shortened_stacks > 0 && losses.unstored_stacks == 0;
    check(Config::new().max_stack_nodes(40_000).max_stacks(500), ends);
}

#[test]
fn bounds_beyond_everything_are_bounds() {
    let most = Config::new().max_stacks(u32::MAX).max_short_stacks(u32::MAX).counter_bytes(usize::MAX);
    let most = most.ring_bytes(usize::MAX).all_rings_bytes(usize::MAX);
    let most = most.max_stack_nodes(u32::MAX).arena_bytes(usize::MAX);
    check(most, |losses| losses.overflow_stacks == 0 && losses.ring_full == 0 && losses.shortened_stacks == 0);
}
