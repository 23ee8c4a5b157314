//! A child that is forked in the middle of everything counts on, reports, and hangs nowhere.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, Snapshot, Symbolize, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// Of a process that keeps addresses: looking names up in each child takes unoptimized code too long to do so here.
const CHILDREN: u64 = 200;
const CHILDREN_WITH_NAMES: u64 = 20;
const CHILDREN_BEFORE_START: u64 = 3;
/// Every so many children, one that forks in its turn.
const GRANDCHILD_EVERY: u64 = 20;
const ALLOCATORS: u64 = 3;
/// Stacks that become possible with each child.
const STACKS_PER_CHILD: u64 = 10;
/// Stacks that share a function: with each child comes a new one, whose name is looked up.
const STACKS_PER_PLACE: u64 = 10;

/// What a child returns.
const NAMED: u8 = 0;
const WITHOUT_NAMES: u8 = 1;

static OVER: AtomicBool = AtomicBool::new(false);
/// Stacks that the allocating threads may use, and have used.
static ALLOWED: AtomicU64 = AtomicU64::new(1);
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Goes one frame deeper for each binary digit, by the one call or by the other: numbers are stacks.
#[inline(never)]
fn branch(path: u64, bytes: usize) -> Vec<u8> {
    match path {
        0 | 1 => Vec::with_capacity(black_box(bytes)),
        odd if odd & 1 == 1 => branch(path / 2, bytes),
        _ => black_box(branch(path / 2, bytes)),
    }
}

/// A function of its own for each `N`: addresses that nobody has symbolized.
#[inline(never)]
fn place<const N: usize>(path: u64) -> Vec<u8> {
    black_box(branch(path, 1 + N % 100))
}

macro_rules! places {
    ($($tens:literal)*) => {
        &[$(place::<{ $tens * 8 }>, place::<{ $tens * 8 + 1 }>, place::<{ $tens * 8 + 2 }>, place::<{ $tens * 8 + 3 }>,
            place::<{ $tens * 8 + 4 }>, place::<{ $tens * 8 + 5 }>, place::<{ $tens * 8 + 6 }>, place::<{ $tens * 8 + 7 }>),*]
    };
}
static PLACES: &[fn(u64) -> Vec<u8>] = places!(0 1 2 3 4);

/// Allocates and frees, on new stacks as long as there are some.
fn allocate_until_over() {
    let mut kept: Vec<Option<Vec<u8>>> = vec![None; 256];
    let mut n = 0;
    while !OVER.load(Ordering::Relaxed) {
        n += 1;
        let allowed = ALLOWED.load(Ordering::Relaxed);
        let new = NEXT.load(Ordering::Relaxed) < allowed;
        let path = if new { NEXT.fetch_add(1, Ordering::Relaxed) } else { n % allowed };
        let place = PLACES[(path / STACKS_PER_PLACE) as usize % PLACES.len()];
        kept[n as usize % 256] = Some(place(path));
        if !new && n % 64 == 0 {
            // Leaves the processor to the child.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Snapshots: they drain, and symbolize what is new.
fn read_until_over() {
    while !OVER.load(Ordering::Relaxed) {
        assert_eq!(heaptally::snapshot().check(), Ok(()));
        thread::sleep(Duration::from_millis(1));
    }
}

/// Lets the others begin with new stacks, and returns a little later: a different while for each child.
fn disturb(child: u64) {
    ALLOWED.fetch_add(STACKS_PER_CHILD, Ordering::Relaxed);
    thread::sleep(Duration::from_micros(child * 370 % 4000));
}

/// Allocates 4 blocks: three of 1000 bytes that are kept, and one of 500 that is freed.
#[inline(never)]
fn keep() -> [Vec<u8>; 3] {
    drop(black_box(Vec::<u8>::with_capacity(black_box(500))));
    black_box([(); 3].map(|()| Vec::with_capacity(black_box(1000))))
}

const KEPT: Counts = Counts { allocated_blocks: 4, allocated_bytes: 3500, freed_blocks: 1, freed_bytes: 500 };
/// Once its blocks are dropped.
const KEPT_AND_FREED: Counts = Counts { freed_blocks: 4, freed_bytes: 3500, ..KEPT };

fn kept(snapshot: &Snapshot) -> Counts {
    let rows = snapshot.by_function();
    let of_keep = rows.iter().filter(|row| row.function().starts_with("fork::keep"));
    of_keep.fold(Counts::ZERO, |sum, row| sum + row.counts())
}

/// In a child, tracking being on. `families`: how often [`keep`] has run since the start, in this process and those
/// it comes from.
fn count_and_report(families: u64, symbolize: Symbolize) -> Result<u8, String> {
    let (kept_here, counted) = heaptally::measure(keep);
    if counted != KEPT {
        return Err(format!("measured {counted:?}"));
    }
    // A new thread takes over the state of one that is gone.
    thread::spawn(|| drop(black_box(branch(1, 100))))
        .join()
        .map_err(|_| "a thread of the child panicked".to_owned())?;

    let snapshot = quiet_snapshot()?;
    let has_names = snapshot.notes().is_empty();
    let named = has_names && symbolize == Symbolize::Full;
    let expected = (1..families).fold(KEPT, |sum, _| sum + KEPT_AND_FREED);
    if named && kept(&snapshot) != expected {
        return Err(format!("{:?} in the row of {families} calls of `keep`\n{snapshot}", kept(&snapshot)));
    }
    drop(kept_here);
    let snapshot = quiet_snapshot()?;
    if named && kept(&snapshot).live_blocks() != 0 {
        return Err(format!("{:?} after the blocks were freed", kept(&snapshot)));
    }
    Ok(if has_names { NAMED } else { WITHOUT_NAMES })
}

fn start(symbolize: Symbolize) {
    heaptally::start(Config::new().modules(["fork"]).symbolize(symbolize)).unwrap();
}

/// Runs `f` while other threads allocate.
fn while_others_allocate<R>(f: impl FnOnce() -> R) -> R {
    thread::scope(|scope| {
        for _ in 0..ALLOCATORS {
            scope.spawn(allocate_until_over);
        }
        let ended = catch_unwind(AssertUnwindSafe(f));
        OVER.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[test]
fn children_of_a_busy_process_count_report_and_end() {
    watchdog::abort_unless_done_in(Duration::from_secs(300), "fork");
    // In a process of its own, because tracking starts once.
    assert_eq!(
        child::run(|| while_others_allocate(|| family(Symbolize::Full, CHILDREN_WITH_NAMES)).map(|()| NAMED)),
        Ok(NAMED)
    );
    while_others_allocate(|| {
        children_forked_before_start_start_themselves();
        family(Symbolize::Off, CHILDREN).unwrap();
    });
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(snapshot.losses().unknown_frees.blocks, 0);
    assert!(snapshot.notes().is_empty());
}

fn children_forked_before_start_start_themselves() {
    for child in 0..CHILDREN_BEFORE_START {
        disturb(child);
        let outcome = child::run(|| {
            quiet_snapshot()?;
            start(Symbolize::Full);
            count_and_report(1, Symbolize::Full)
        });
        assert_eq!(outcome, Ok(NAMED), "child {child}");
    }
}

/// Starts tracking, and forks `children` while others allocate and read: the first of them while the aggregator is
/// still being built and looks up its first names, which takes longer than the children do.
fn family(symbolize: Symbolize, children: u64) -> Result<(), String> {
    start(symbolize);
    thread::scope(|scope| {
        scope.spawn(read_until_over);
        let without_names = (0..children).try_fold(0, |sum, child| {
            if child == children / 4 {
                // From here on there are few new names at a time, or no child would be forked between two look-ups.
                drop(heaptally::snapshot());
            }
            disturb(child);
            let outcome = child::run(|| parent_and_grandchild(symbolize, child % GRANDCHILD_EVERY == 0));
            outcome
                .map(|status| sum + u64::from(status == WITHOUT_NAMES))
                .map_err(|error| format!("child {child}: {error}"))
        });
        OVER.store(true, Ordering::Relaxed);
        let without_names = without_names?;
        println!("{symbolize:?}: {without_names} of {children} children, forked while names were looked up, have none");
        // A child with names has found the row of `keep` right to the byte; one that was forked at the wrong instant can
        // tell nothing, which is no failure. It must not be the rule, or nothing would be tested. With names switched
        // off, files are looked up for an instant, under a lock too.
        let most = match symbolize {
            Symbolize::Full => children - 1,
            _ => children / 4,
        };
        if without_names > most {
            return Err(format!("{symbolize:?}: {without_names} of {children} children have no names"));
        }
        Ok(())
    })
}

fn parent_and_grandchild(symbolize: Symbolize, with_grandchild: bool) -> Result<u8, String> {
    let names = count_and_report(1, symbolize)?;
    // Names that the child does not have are not there for the grandchild.
    if with_grandchild && child::run(|| count_and_report(2, symbolize))? < names {
        return Err("the grandchild has names".to_owned());
    }
    Ok(names)
}
