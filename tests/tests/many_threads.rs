//! Sixty-four threads that each meet twenty thousand stacks, the same ones or each its own: what heaptally takes stays
//! within the budget that docs/metrics.md computes, and every block is where it belongs.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;

use std::hint::black_box;
use std::ops::{Range, RangeInclusive};
use std::sync::Barrier;
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

/// Calls itself once for each of so many further binary digits of the numbers in the range that begin with `number`, from
/// one of two places: as many stacks as numbers.
#[inline(never)]
fn at(number: u64, digits: u32, range: &Range<u64>) {
    if digits == 0 {
        return drop(black_box(Box::new(black_box([number; 3]))));
    }
    let further = digits - 1;
    let is_wanted = |number: u64| number << further < range.end && (number + 1) << further > range.start;
    if is_wanted(2 * number) {
        at(2 * number, further, range);
    }
    black_box(number);
    if is_wanted(2 * number + 1) {
        at(2 * number + 1, further, range);
    }
    black_box(number);
}

/// Each thread meets [`STACKS`] stacks from number `first` on; returns what heaptally took.
fn run(digits: u32, first: fn(u64) -> u64) -> Result<(Overhead, u64), String> {
    heaptally::start(Config::new().modules(["many_threads"])).map_err(|error| error.to_string())?;
    let resident_before = resident_bytes();
    let together = Barrier::new(THREADS as usize);
    let begun = Instant::now();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                at(0, digits, &(first(thread)..first(thread) + STACKS));
            });
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
        keeps_within(&Budget { arena_bytes: 102 * MIB, heap_bytes: 79 * MIB }, &overhead, grown_bytes)
    });
    assert_eq!(outcome, Ok(0));
}

#[test]
fn threads_that_each_meet_others_stay_within_the_budget() {
    let outcome = child::run(|| {
        let (overhead, grown_bytes) = run(21, |thread| thread * STACKS)?;
        // More than are kept whole; their ends are few, since 16 frames have 16 binary digits at most.
        expect(overhead.stacks, overhead.stacks_limit..=overhead.stacks_limit + (1 << 16))?;
        expect(overhead.stack_nodes, 0..=7_000_000)?;
        keeps_within(&Budget { arena_bytes: 700 * MIB, heap_bytes: 520 * MIB }, &overhead, grown_bytes)
    });
    assert_eq!(outcome, Ok(0));
}
