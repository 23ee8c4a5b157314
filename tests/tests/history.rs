//! The heap over time, as the aggregator records it: points at the period with exact counts, in the bytes that it says,
//! in each process its own.
//!
//! Each case runs in a child of its own, since tracking starts once.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use conserved::quiet_snapshot;
use heaptally::{
    Config, Counts, History, HistoryLimits, NodeId, SiteKind, Snapshot, Symbolize, Tally, TallyAlloc, TickNumber,
};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

#[inline(never)]
fn keep(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(bytes)))
}

fn config() -> Config {
    Config::new().modules(["history"]).history_period(TickNumber::LENGTH)
}

fn start(config: Config) -> Result<Tally, String> {
    heaptally::start(config).map_err(|error| error.to_string())
}

/// The history once it has `points` more than now.
fn further(tally: Tally, points: usize) -> History {
    let wanted = tally.history().len() + points;
    loop {
        let history = tally.history();
        if history.len() >= wanted {
            return history;
        }
        thread::sleep(TickNumber::LENGTH / 10);
    }
}

/// The one stack of `keep`.
fn node_of_keep() -> Result<NodeId, String> {
    let snapshot = quiet_snapshot()?;
    let mut nodes = snapshot.sites().iter().filter(|site| site.function() == "history::keep").map(|site| site.node());
    match (nodes.next(), nodes.next()) {
        (Some(Some(node)), None) => Ok(node),
        _ => Err(snapshot.to_string()),
    }
}

fn program(snapshot: &Snapshot) -> Counts {
    let own = snapshot.sites().iter().filter(|site| site.kind() == SiteKind::Internal);
    own.fold(snapshot.totals().counts(), |program, site| program - site.counts())
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} is not {expected:?}")) }
}

#[test]
fn a_point_has_the_exact_counts_of_its_moment() {
    let outcome = child::run(|| {
        let tally = start(config())?;
        let mut kept: Vec<Vec<u8>> = Vec::with_capacity(3);
        let mut histories = Vec::with_capacity(3);
        for bytes in [1000, 20, 300] {
            kept.push(keep(bytes));
            // The first new point may have been begun before the block.
            histories.push(further(tally, 2));
        }
        kept.remove(1);
        let last = further(tally, 2);
        let node = node_of_keep()?;
        let held = |history: &History| history.last().and_then(|point| point.site(node)).map(|site| site.counts);
        let counts = |blocks, bytes| Counts { allocated_blocks: blocks, allocated_bytes: bytes, ..Counts::ZERO };
        let expected = [counts(1, 1000), counts(2, 1020), counts(3, 1320)].map(Some);
        expect(histories.iter().map(held).collect::<Vec<_>>(), expected.to_vec())?;
        expect(held(&last), Some(Counts { freed_blocks: 1, freed_bytes: 20, ..counts(3, 1320) }))?;

        // Times grow, and the program's counters with them.
        let points: Vec<_> = last.iter().collect();
        let grows = points.windows(2).all(|two| {
            let (earlier, later) = (two[0], two[1]);
            let counts = (earlier.program(), later.program());
            earlier.elapsed() < later.elapsed()
                && earlier.tick() <= later.tick()
                && counts.0.allocated_blocks <= counts.1.allocated_blocks
                && counts.0.freed_bytes <= counts.1.freed_bytes
        });
        if !grows {
            return Err(format!("{points:?}"));
        }
        // When the program does not move, what a snapshot says of it. Nothing here allocates.
        let now = program(&quiet_snapshot()?);
        expect(further(tally, 2).last().map(|point| point.program()), Some(now))?;
        drop(kept);
        Ok(0)
    });
    assert_eq!(outcome, Ok(0));
}

/// The time of a point is taken after its counters are read, that of a snapshot before.
#[test]
fn no_time_between_a_point_and_a_snapshot_is_told_too_long() {
    let outcome = child::run(|| {
        let tally = start(config().symbolize(Symbolize::Off))?;
        further(tally, 1);
        for _ in 0..20 {
            let asked = Instant::now();
            let snapshot = tally.snapshot();
            let kept = keep(10);
            let history = further(tally, 1);
            let told = history.last().expect("a point").elapsed().saturating_sub(snapshot.elapsed());
            if told > asked.elapsed() {
                return Err(format!("{told:?} in {:?}", asked.elapsed()));
            }
            drop(kept);
        }
        Ok(0)
    });
    assert_eq!(outcome, Ok(0));
}

#[test]
fn what_it_takes_is_shown_beside_its_limit() {
    let outcome = child::run(|| {
        let limits = HistoryLimits { points_per_level: 2, sites: 3 };
        let tally = start(config().history(limits))?;
        let kept = [keep(1), keep(2), keep(3), keep(4)];
        let history = further(tally, 5);
        expect(history.limits(), limits)?;
        let overhead = *tally.snapshot().overhead();
        expect(overhead.history_limit_bytes, limits.most_bytes() as u64)?;
        if overhead.history_bytes == 0 || overhead.history_bytes > overhead.history_limit_bytes {
            return Err(format!("{overhead:?}"));
        }
        let last = history.last().expect("a point");
        expect((last.sites().len(), last.is_complete()), (3, false))?;
        drop(kept);
        Ok(0)
    });
    assert_eq!(outcome, Ok(0));
}

#[test]
fn without_a_history_nothing_is_recorded() {
    let outcome = child::run(|| {
        let tally = start(config().without_history())?;
        thread::sleep(TickNumber::LENGTH * 4);
        let overhead = *tally.snapshot().overhead();
        expect((overhead.history_bytes, overhead.history_limit_bytes), (0, 0))?;
        expect((tally.history().len(), tally.suspects().rows().len(), tally.suspects().is_too_short()), (0, 0, true))?;
        Ok(0)
    });
    assert_eq!(outcome, Ok(0));
}

#[test]
fn a_forked_child_begins_with_an_empty_one() {
    let outcome = child::run(|| {
        let tally = start(config().symbolize(Symbolize::Off))?;
        let kept = keep(700);
        further(tally, 3);
        let forked = Instant::now();
        child::run(|| {
            let history = further(tally, 1);
            let first = history.iter().next().expect("a point");
            // By the child's own clock.
            let oldest = Duration::ZERO..=forked.elapsed();
            if !oldest.contains(&first.elapsed()) {
                return Err(format!("{:?} is not in {oldest:?}", first.elapsed()));
            }
            Ok(0)
        })?;
        drop(kept);
        Ok(0)
    });
    assert_eq!(outcome, Ok(0));
}
