//! Sixty-four threads that each meet twenty thousand stacks, the same ones or each its own: what heaptally takes stays
//! within the budget that docs/metrics.md computes, and every block is where it belongs.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::thread;
use std::time::Instant;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, Overhead, SiteKind, TallyAlloc};
use heaptally_tests::resident_bytes;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const THREADS: u64 = 64;
const STACKS: u64 = 20_000;
const BLOCK_BYTES: u64 = 24;
const MIB: u64 = 1 << 20;

/// Calls itself once for each of so many binary digits of `number`, the first one outermost, from one of two places: as
/// many stacks as numbers.
#[inline(never)]
fn at(number: u64, digits: u32) {
    if digits == 0 {
        drop(black_box(Box::new(black_box([number; 3]))));
    } else if number >> (digits - 1) & 1 == 0 {
        at(number, digits - 1);
    } else {
        at(number, digits - 1);
        black_box(number);
    }
}

/// Each thread meets the stacks of numbers from `first` on; returns what heaptally took.
fn run(digits: u32, first: fn(u64) -> u64) -> Result<(Overhead, u64), String> {
    heaptally::start(Config::new().modules(["many_threads"])).map_err(|error| error.to_string())?;
    let resident_before = resident_bytes();
    let begun = Instant::now();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || (0..STACKS).for_each(|number| at(first(thread) + number, digits)));
        }
    });
    let met = begun.elapsed();
    let snapshot = quiet_snapshot()?;
    let overhead = *snapshot.overhead();
    let grown_bytes = resident_bytes().saturating_sub(resident_before);
    println!("met in {met:?}, read in {:?}, {} MiB more resident", begun.elapsed() - met, grown_bytes / MIB);
    println!("{overhead:?}\n{}", snapshot.losses());
    let blocks = THREADS * STACKS;
    let all = Counts {
        allocated_blocks: blocks,
        allocated_bytes: blocks * BLOCK_BYTES,
        freed_blocks: blocks,
        freed_bytes: blocks * BLOCK_BYTES,
    };
    let rows = snapshot.by_function();
    let counts = |function| rows.iter().find(|row| row.function() == function).map_or(Counts::ZERO, |row| row.counts());
    let found = (counts("many_threads::at"), counts(SiteKind::Overflow.label()));
    if found != (all, Counts::ZERO) {
        return Err(format!("{found:?}"));
    }
    Ok((overhead, grown_bytes))
}

/// What docs/metrics.md comes to, under "What that comes to".
struct Budget {
    arena_bytes: u64,
    /// With 64 MiB of debug information, which this program does not have that much of.
    heap_bytes: u64,
}

fn keeps_within(budget: &Budget, overhead: &Overhead, grown_bytes: u64) -> Result<u8, String> {
    expect(overhead.threads, THREADS..=THREADS + 4)?;
    expect(overhead.counter_page_bytes, 0..=overhead.counter_page_limit_bytes)?;
    expect(overhead.ring_bytes, 0..=overhead.all_rings_limit_bytes)?;
    expect(overhead.arena_bytes, 0..=budget.arena_bytes)?;
    expect(overhead.internal_live_bytes, 0..=budget.heap_bytes)?;
    expect(grown_bytes, overhead.counter_page_bytes / 2..=budget.arena_bytes + budget.heap_bytes)?;
    Ok(0)
}

fn expect(found: u64, range: RangeInclusive<u64>) -> Result<(), String> {
    if range.contains(&found) { Ok(()) } else { Err(format!("{found} is not within {range:?}")) }
}

#[test]
fn threads_that_meet_the_same_stacks_share_all_but_their_counters() {
    let outcome = child::run(|| {
        let (overhead, grown_bytes) = run(15, |_| 0)?;
        // Stacks of other places: the harness, std's threads.
        expect(overhead.stacks, STACKS..=STACKS + 2_000)?;
        keeps_within(&Budget { arena_bytes: 60 * MIB, heap_bytes: 72 * MIB }, &overhead, grown_bytes)
    });
    assert_eq!(outcome, Ok(0));
}

#[test]
fn threads_that_each_meet_others_stay_within_the_budget() {
    let outcome = child::run(|| {
        let (overhead, grown_bytes) = run(21, |thread| thread * STACKS)?;
        // More than are kept whole; their ends are few.
        expect(overhead.stacks, overhead.stacks_limit..=overhead.stacks_limit + 20_000)?;
        expect(overhead.stack_nodes, 0..=7_000_000)?;
        keeps_within(&Budget { arena_bytes: 564 * MIB, heap_bytes: 460 * MIB }, &overhead, grown_bytes)
    });
    assert_eq!(outcome, Ok(0));
}
