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

/// All laps, the warm-up too, come from one call: from another they would have other stacks, which a tracker would see
/// for the first time in the midst of the timing. `tests/depth.rs` holds it.
#[inline(never)]
fn time_here(work: &mut dyn Work, amount: Amount, ready: &Barrier) -> Timed {
    work.begin();
    let mut watch = Stopwatch { amount, ready, begun: None, checksum: None, laps: 0 };
    while watch.goes_on_after(work.lap()) {}
    watch.timed(work.operations_a_lap())
}

struct Stopwatch<'a> {
    amount: Amount,
    ready: &'a Barrier,
    /// Since the warm-up's end.
    begun: Option<Instant>,
    /// Of the first timed lap.
    checksum: Option<u64>,
    laps: u64,
}

impl Stopwatch<'_> {
    /// Whether there is another lap after one with this sum. Not inlined, or the compiler makes a loop of its own for
    /// each state of the watch.
    #[inline(never)]
    fn goes_on_after(&mut self, sum: u64) -> bool {
        let Some(begun) = self.begun else {
            self.ready.wait();
            self.begun = Some(Instant::now());
            return true;
        };
        self.laps += 1;
        assert_eq!(*self.checksum.get_or_insert(sum), sum, "lap {} did other work than the first", self.laps);
        // The clock is read once a lap, which is a thousand times longer than that.
        more(self.amount, self.laps, begun)
    }

    fn timed(&self, operations_a_lap: u64) -> Timed {
        let ns = self.begun.expect("the warm-up has ended").elapsed().as_nanos() as f64;
        let operations = self.laps * operations_a_lap;
        Timed { operations, ns_an_operation: ns / operations as f64, checksum: self.checksum.expect("a lap was timed") }
    }
}

fn more(amount: Amount, laps: u64, begun: Instant) -> bool {
    match amount {
        Amount::Laps(all) => laps < all,
        Amount::Budget(budget) => begun.elapsed() < budget,
    }
}
