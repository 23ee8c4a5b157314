//! Runs works on spawned threads, all at once, and times each.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crate::arguments::Amount;
use crate::work::Work;

/// What one thread did.
pub(crate) struct Timed {
    pub(crate) operations: u64,
    pub(crate) ns_an_operation: f64,
    /// Of a lap.
    pub(crate) checksum: u64,
}

/// # Panics
///
/// If a work panics, or if two laps of it did not do the same.
pub(crate) fn time(works: &mut [Box<dyn Work>], amount: Amount) -> Vec<Timed> {
    let ready = Barrier::new(works.len());
    thread::scope(|scope| {
        let spawn = |work| scope.spawn(|| time_here(work, amount, &ready));
        let threads: Vec<_> = works.iter_mut().map(|work| spawn(work.as_mut())).collect();
        threads.into_iter().map(|thread| thread.join().expect("the measured thread")).collect()
    })
}

#[inline(never)]
fn time_here(work: &mut dyn Work, amount: Amount, ready: &Barrier) -> Timed {
    work.warm_up();
    ready.wait();
    let begun = Instant::now();
    let checksum = work.lap();
    let mut laps = 1;
    // The clock is read once a lap, which is a thousand times longer than that.
    while more(amount, laps, begun) {
        assert_eq!(work.lap(), checksum, "lap {laps} did other work than the first");
        laps += 1;
    }
    let ns = begun.elapsed().as_nanos() as f64;
    let operations = laps * work.operations_a_lap();
    Timed { operations, ns_an_operation: ns / operations as f64, checksum }
}

fn more(amount: Amount, laps: u64, begun: Instant) -> bool {
    match amount {
        Amount::Laps(all) => laps < all,
        Amount::Budget(budget) => begun.elapsed() < budget,
    }
}
