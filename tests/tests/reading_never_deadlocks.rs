//! Whoever reads, in whatever way and as often as he likes, never stops the program, nor himself.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, Every, Snapshot, Tally, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const ALLOCATORS: usize = 8;
const READERS: usize = 4;
const VIEWERS: usize = 2;
const CHANGERS: usize = 1;
const SUBSCRIBERS: usize = 3;
/// What everybody who reads must have done before it is over, however busy the machine is.
const ROUNDS: u64 = 5;
const BEATS: u64 = 3;

static OVER: AtomicBool = AtomicBool::new(false);
/// Rounds of each reader, viewer and changer.
static DONE: [AtomicU64; READERS + VIEWERS + CHANGERS] = [const { AtomicU64::new(0) }; READERS + VIEWERS + CHANGERS];
/// Beats of each subscriber; one that panicked has none yet.
static BEATEN: [AtomicU64; SUBSCRIBERS] = [const { AtomicU64::new(0) }; SUBSCRIBERS];
static ALLOCATED: AtomicU64 = AtomicU64::new(0);

/// Allocates in the function it is written in.
macro_rules! block {
    ($bytes:expr) => {{
        let mut block = Vec::new();
        block.reserve_exact(black_box($bytes));
        block
    }};
}

mod left {
    use super::black_box;

    #[inline(never)]
    pub(crate) fn leaf(bytes: usize) -> Vec<u8> {
        block!(bytes)
    }
}

mod right {
    use super::{black_box, left};

    /// Goes one frame deeper for each odd digit, so that numbers are stacks.
    #[inline(never)]
    pub(crate) fn branch(path: u64, bytes: usize) -> Vec<u8> {
        match path {
            0 => block!(bytes),
            odd if odd % 4 == 1 => branch(path / 4, bytes),
            odd if odd % 4 == 3 => black_box(branch(path / 4, bytes)),
            _ => left::leaf(bytes),
        }
    }
}

/// Everything that one thread allocated and freed in `left` and `right`.
fn allocate_until_over(thread: usize) -> Counts {
    let mut counts = Counts::ZERO;
    let mut kept: Vec<Option<Vec<u8>>> = vec![None; 64];
    let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ thread as u64;
    while !OVER.load(Ordering::Relaxed) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let bytes = 1 + (random >> 40) as usize % 500;
        let block = right::branch(random % 4096, bytes);
        counts.allocated_blocks += 1;
        counts.allocated_bytes += bytes as u64;
        if let Some(old) = kept[(random as usize % 64) ^ 1].replace(block) {
            counts.freed_blocks += 1;
            counts.freed_bytes += old.capacity() as u64;
        }
        ALLOCATED.fetch_add(1, Ordering::Relaxed);
    }
    for old in kept.into_iter().flatten() {
        counts.freed_blocks += 1;
        counts.freed_bytes += old.capacity() as u64;
    }
    counts
}

fn rounds_until_over(reader: usize, mut round: impl FnMut(u64)) {
    while !OVER.load(Ordering::Relaxed) {
        round(DONE[reader].fetch_add(1, Ordering::Relaxed));
    }
}

/// Snapshots, differences and tables, in a loop.
fn read(reader: usize, tally: Tally) {
    let mut last = tally.snapshot();
    rounds_until_over(reader, |_| {
        let snapshot = heaptally::snapshot();
        assert_eq!(snapshot.check(), Ok(()));
        assert!(snapshot.sequence() > last.sequence());
        black_box(snapshot.since(&last).to_string());
        last = snapshot;
    });
}

/// Rows of the symbol table, while snapshots are merged into it.
fn view(reader: usize, tally: Tally) {
    let table = tally.symbol_table();
    rounds_until_over(reader, |_| {
        for (function, _, counts) in table.rows() {
            assert!(counts.live_blocks() >= 0 && counts.live_bytes() >= 0, "{function}: {counts:?}");
            black_box(table.get(&function));
        }
        black_box((table.len(), tally.symbol_table().is_empty()));
        thread::sleep(Duration::from_millis(1));
    });
}

/// The program's own code: allocates, takes its time, reads in turn, and fails once.
fn subscribe(tally: Tally) -> [Every; SUBSCRIBERS] {
    let table = tally.symbol_table();
    let allocating = tally.every(Duration::from_millis(7), move |tick| {
        black_box((tick.snapshot.to_string(), table.rows()));
        BEATEN[0].fetch_add(1, Ordering::Relaxed);
    });
    let blocking = tally.every(Duration::from_millis(20), move |tick| {
        assert_eq!(tick.snapshot.check(), Ok(()));
        thread::sleep(Duration::from_millis(90));
        black_box(tally.snapshot());
        BEATEN[1].fetch_add(1, Ordering::Relaxed);
    });
    let mut panicked = false;
    let panicking = tally.every(Duration::from_millis(20), move |_| {
        if !panicked {
            panicked = true;
            panic!("once, on purpose");
        }
        BEATEN[2].fetch_add(1, Ordering::Relaxed);
    });
    [allocating, blocking, panicking]
}

fn change_modules(reader: usize, tally: Tally) {
    let choices: [&[&str]; 3] =
        [&["reading_never_deadlocks"], &["reading_never_deadlocks::left", "reading_never_deadlocks::right"], &[]];
    rounds_until_over(reader, |round| {
        tally.set_modules(choices[round as usize % 3].iter().copied()).unwrap();
        thread::sleep(Duration::from_millis(30));
    });
}

fn spawn<'scope, R: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    numbers: Range<usize>,
    body: impl Fn(usize) -> R + Send + Copy + 'scope,
) -> Vec<ScopedJoinHandle<'scope, R>> {
    numbers.map(|number| scope.spawn(move || body(number))).collect()
}

fn counts_in(snapshot: &Snapshot, module: &str) -> Counts {
    let rows = snapshot.by_function();
    let rows = rows.iter().filter(|row| row.function().starts_with(module));
    rows.fold(Counts::ZERO, |sum, row| sum + row.counts())
}

#[test]
fn readers_subscribers_and_changes_of_modules_stop_nobody() {
    watchdog::abort_unless_done_in(Duration::from_secs(120), "reading_never_deadlocks");
    let tally = heaptally::start(Config::new().modules(["reading_never_deadlocks"])).unwrap();

    // What is symbolized the first time takes its time.
    tally.snapshot();

    let expected = thread::scope(|scope| {
        let allocators = spawn(scope, 0..ALLOCATORS, allocate_until_over);
        spawn(scope, 0..READERS, move |reader| read(reader, tally));
        spawn(scope, READERS..READERS + VIEWERS, move |reader| view(reader, tally));
        spawn(scope, DONE.len() - CHANGERS..DONE.len(), move |reader| change_modules(reader, tally));
        let subscriptions = subscribe(tally);
        let far_enough = |(done, rounds): (&AtomicU64, u64)| done.load(Ordering::Relaxed) >= rounds;
        let everybody = || DONE.iter().map(|done| (done, ROUNDS)).chain(BEATEN.iter().map(|beaten| (beaten, BEATS)));
        thread::sleep(Duration::from_secs(2));
        while !everybody().all(far_enough) {
            thread::sleep(Duration::from_millis(10));
        }
        OVER.store(true, Ordering::Relaxed);
        drop(subscriptions);
        let counts = allocators.into_iter().map(|thread| thread.join().unwrap());
        counts.fold(Counts::ZERO, |sum, counts| sum + counts)
    });
    assert_eq!(ALLOCATED.load(Ordering::Relaxed), expected.allocated_blocks);

    the_past_is_charged_anew(tally, expected);
}

fn the_past_is_charged_anew(tally: Tally, expected: Counts) {
    let charged_to = |modules: &[&str]| {
        tally.set_modules(modules.iter().copied()).unwrap();
        let snapshot = quiet_snapshot().unwrap();
        let [left, right] = ["left", "right"].map(|name| format!("reading_never_deadlocks::{name}"));
        (counts_in(&snapshot, &left), counts_in(&snapshot, &right))
    };
    let (left, right) = charged_to(&["reading_never_deadlocks"]);
    assert_eq!(left + right, expected);
    assert!(!left.is_zero() && !right.is_zero());
    // Every stack goes through `right`, so with that module alone it has what `left` had.
    assert_eq!(charged_to(&["reading_never_deadlocks::right"]), (Counts::ZERO, expected));
    assert_eq!(charged_to(&["reading_never_deadlocks::left"]), (left, Counts::ZERO));
    assert_eq!(charged_to(&["reading_never_deadlocks"]), (left, right));
}
