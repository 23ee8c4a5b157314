//! heaptally between an oracle outside and one inside: equal to the byte after every program, before the start, after
//! it and paused.
//!
//! One process, so one test: tracking is started once.
#![cfg(not(heaptally_portable))]

use heaptally_tests::{Watched, assert_exact, watched, workload};

#[global_allocator]
static ALLOC: Watched = watched();

#[test]
fn totals_are_what_was_asked_for_at_every_quiet_point() {
    every_program("before the start");
    let tally = heaptally::start(heaptally::config!()).expect("installed");
    assert_exact("just started");
    every_program("tracking");
    tally.pause();
    every_program("paused");
    tally.resume();
    every_program("resumed");
}

/// Runs each program and compares after it.
fn every_program(when: &str) {
    let exact = |program| assert_exact(&format!("{when}: {program}"));
    workload::churn(99, 4000);
    exact("one thread");
    workload::threads_that_churn(1000);
    exact("eight threads");
    workload::blocks_freed_by_other_threads(200);
    exact("freed by other threads");
    workload::resizes(40);
    exact("resizes");
    workload::zeroed(500);
    exact("zeroed");
}
