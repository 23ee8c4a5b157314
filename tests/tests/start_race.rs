//! Of several threads that start tracking at once, one does.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;

use std::sync::Barrier;
use std::thread;

use conserved::quiet_snapshot;
use heaptally::{Config, StartError, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const THREADS: usize = 8;

#[test]
fn one_thread_starts_and_the_others_are_told() {
    let together = Barrier::new(THREADS);
    let starting = || {
        together.wait();
        heaptally::start(Config::new().modules(["start_race"]))
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(starting)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let refusals = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(refusals.into_iter().all(|error| matches!(error, StartError::AlreadyRunning)));
    let snapshot = quiet_snapshot().unwrap();
    assert_eq!(snapshot.sequence(), 1);
}
