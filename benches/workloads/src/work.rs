//! What a workload is: laps of equal work.
//!
//! Made on the main thread before tracking starts, moved to the measured thread, and given back to the main thread
//! after the timing, so that the subject is verified while the blocks of the workload are still live.

use crate::metric::Metric;

pub(crate) trait Work: Send {
    /// What is counted, in the singular: a pair, a parse.
    fn operation(&self) -> &'static str;

    /// How many of them a lap does.
    fn operations_a_lap(&self) -> u64;

    /// Does the operations of a lap. The sum it returns is the same for every lap after the warm-up.
    fn lap(&mut self) -> u64;

    /// What came of the laps after the warm-up.
    fn metrics(&self, ns_an_operation: f64) -> Vec<Metric> {
        vec![Metric::time(self.operation(), ns_an_operation)]
    }

    /// Runs once on the measured thread, before the first lap, which is the warm-up.
    fn begin(&mut self) {}
}
