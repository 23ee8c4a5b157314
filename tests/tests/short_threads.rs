//! Threads that come and go while snapshots are made: nothing of them is lost, and what they leave behind is used again.
#![cfg(not(heaptally_portable))]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use heaptally_tests::{Watched, assert_conserved, assert_exact, assert_settles, watched, workload};

#[global_allocator]
static ALLOC: Watched = watched();

const THREADS: usize = 10_000;
/// Those at work, the test's own, the reader, the harness's and the aggregator, and a few that end while others begin.
const STATES: u64 = 2 * workload::THREADS + 8;

/// While the threads come and go, at least.
const SNAPSHOTS: u64 = 5;

/// How many snapshots were made until it was over, in each of which states are bounded.
fn read_until(is_over: &AtomicBool) -> u64 {
    let mut snapshots = 0;
    while !is_over.load(Ordering::SeqCst) {
        let snapshot = heaptally::snapshot();
        assert_eq!(snapshot.check(), Ok(()));
        let states = snapshot.overhead().threads;
        assert!(states <= STATES, "{states} states");
        snapshots += 1;
        // Leaves the processor to the threads.
        thread::sleep(Duration::from_millis(5));
    }
    snapshots
}

#[test]
fn ten_thousand_short_threads_are_counted_and_leave_nothing_behind() {
    assert_settles("no block is left before the start", || {
        let before = heaptally::totals().live_blocks();
        workload::short_threads(THREADS);
        (heaptally::totals().live_blocks(), before)
    });
    assert_exact("before the start");

    heaptally::start(heaptally::config!()).expect("installed");
    workload::short_threads(THREADS / 10);
    let arena_bytes = assert_conserved("warm").overhead().arena_bytes;
    let is_over = AtomicBool::new(false);
    let snapshots = thread::scope(|scope| {
        let reader = scope.spawn(|| read_until(&is_over));
        workload::short_threads(THREADS);
        is_over.store(true, Ordering::SeqCst);
        reader.join().expect("no panic")
    });
    assert!(snapshots >= SNAPSHOTS, "{snapshots} snapshots meanwhile");
    assert_exact("tracking");

    let overhead = *assert_conserved("tracking").overhead();
    assert!(overhead.threads <= STATES, "{} states", overhead.threads);
    // A state that was not at work before may take a few pages of counters.
    assert!(overhead.arena_bytes <= arena_bytes + (1 << 20), "{} bytes after {arena_bytes}", overhead.arena_bytes);
}
