//! Children of children, each of which is forked while the threads of its parent allocate, starts threads of its own, reads,
//! and frees what its forefathers have allocated; and programs that are run while others allocate and read.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::hint::black_box;
use std::io;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Config, Symbolize, TallyAlloc};
use heaptally_tests::{Block, counts, stacks};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const GENERATIONS: u8 = 8;
const ALLOCATORS: usize = 2;
const RUNNERS: usize = 2;
/// Programs that each runner runs in each of two ways.
const PROGRAMS: u64 = 25;
const STATUS: i32 = 3;
const BLOCK_BYTES: usize = 1000;

/// Those of a generation's threads: the test's own, the harness's, the aggregator, those that allocate and the reader.
/// Twice, because a thread that was in the middle of an operation at the fork leaves a state that nobody takes over.
const STATES: u64 = 2 * (4 + ALLOCATORS as u64);

static SNAPSHOTS: AtomicU64 = AtomicU64::new(0);

/// Allocates and frees on 100 stacks.
fn allocate_until(is_over: &AtomicBool) {
    for number in 0.. {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        stacks::at(number % 100, 2, &mut || drop(black_box(Block::new(1 + number % 500, 8))));
        if number % 64 == 0 {
            // Leaves the processor to others.
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn read_until(is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        assert_eq!(heaptally::snapshot().check(), Ok(()));
        SNAPSHOTS.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `f` while other threads allocate and read.
fn under_load<R>(f: impl FnOnce() -> R) -> R {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..ALLOCATORS {
            scope.spawn(|| allocate_until(&is_over));
        }
        scope.spawn(|| read_until(&is_over));
        let ended = catch_unwind(AssertUnwindSafe(f));
        is_over.store(true, Ordering::SeqCst);
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// The blocks of the forefathers, one each, in the order of their births.
fn generation(number: u8, mut inherited: Vec<Block>) -> Result<u8, String> {
    if number == GENERATIONS {
        let blocks = inherited.len() as u64;
        let ((), freed) = heaptally::measure(|| inherited.drain(..).for_each(drop));
        if (blocks, freed) != (u64::from(number), counts([0, 0], [blocks, blocks * BLOCK_BYTES as u64])) {
            return Err(format!("{blocks} blocks inherited, {freed:?}"));
        }
    } else {
        let ((), counted) = heaptally::measure(|| inherited.push(Block::new(BLOCK_BYTES, 8)));
        if counted != counts([1, BLOCK_BYTES as u64], [0, 0]) {
            return Err(format!("generation {number}: {counted:?}"));
        }
        let next = under_load(|| {
            thread::sleep(Duration::from_millis(5));
            child::run(|| generation(number + 1, inherited))
        });
        if next != Ok(number + 1) {
            return Err(format!("generation {number}, of its child: {next:?}"));
        }
    }
    let snapshot = quiet_snapshot()?;
    let unknown = snapshot.losses().unknown_frees.blocks;
    let states = snapshot.overhead().threads;
    println!("generation {number}: {states} states");
    if unknown != 0 || states > STATES {
        return Err(format!("generation {number}: {unknown} unknown frees, {states} states"));
    }
    Ok(number)
}

/// Runs programs, by `posix_spawn`; and by `fork` and `exec`, because there is something to do in between: to allocate.
fn run_programs() {
    for _ in 0..PROGRAMS {
        let program = || {
            let mut program = Command::new("/bin/sh");
            program.args(["-c", &format!("exit {STATUS}")]);
            program
        };
        assert_eq!(program().status().expect("a shell").code(), Some(STATUS));
        let mut forked = program();
        // SAFETY: the C library's allocator may be used in the child.
        unsafe {
            forked.pre_exec(|| {
                let (_, counted) = heaptally::measure(|| drop(black_box(Block::new(BLOCK_BYTES, 8))));
                let expected = counts([1, BLOCK_BYTES as u64], [1, BLOCK_BYTES as u64]);
                if counted == expected { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EBADE)) }
            });
        }
        assert_eq!(forked.status().expect("exact counts in the child").code(), Some(STATUS));
    }
}

#[test]
fn descendants_and_programs_count_on_and_end() {
    watchdog::abort_unless_done_in(Duration::from_secs(120), "descendants");
    heaptally::start(Config::new().modules(["descendants"]).symbolize(Symbolize::Off)).unwrap();
    // The list has room for all: what is measured is blocks alone.
    assert_eq!(generation(0, Vec::with_capacity(GENERATIONS.into())), Ok(0));

    let before = SNAPSHOTS.load(Ordering::SeqCst);
    under_load(|| {
        thread::scope(|scope| (0..RUNNERS).for_each(|_| _ = scope.spawn(run_programs)));
    });
    assert!(SNAPSHOTS.load(Ordering::SeqCst) > before);
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(snapshot.losses().unknown_frees, Default::default());
}
