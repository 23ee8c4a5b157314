//! Threads that come and go: nothing of them is lost, and what they leave behind is used again.
#![cfg(not(heaptally_portable))]

use heaptally_tests::{Watched, assert_conserved, assert_exact, assert_settles, watched, workload};

#[global_allocator]
static ALLOC: Watched = watched();

const THREADS: usize = 10_000;
/// Those at work, the test's own, the harness's and the aggregator, and a few that end while others begin.
const STATES: u64 = 2 * workload::THREADS + 8;

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
    workload::short_threads(THREADS);
    assert_exact("tracking");

    let overhead = *assert_conserved("tracking").overhead();
    assert!(overhead.threads <= STATES, "{} states", overhead.threads);
    // A state that was not at work before may take a few pages of counters.
    assert!(overhead.arena_bytes <= arena_bytes + (1 << 20), "{} bytes after {arena_bytes}", overhead.arena_bytes);
}
