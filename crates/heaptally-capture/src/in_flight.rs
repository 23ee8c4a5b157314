//! How many operations are between the shared totals and their row at this instant.
//!
//! Counted in the hook by any thread, read by snapshots. In a forked child nobody ends what the parent's other threads
//! had begun: the count begins anew, and the number of forks tells an operation of the survivor, which a handler has
//! interrupted to fork, that it is not counted any more.
//!
//! ```text
//!  [ forks: 32 │ operations: 32 ]
//! ```

use crate::sync::{AtomicU64, Ordering};

const FORK: u64 = 1 << 32;

/// See the module's head.
pub(crate) struct InFlight(AtomicU64);

impl InFlight {
    /// None.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Runs `count`, marked as in progress. False when a child was forked meanwhile, and this is the child.
    pub(crate) fn during(&self, count: impl FnOnce()) -> bool {
        let forks = self.0.fetch_add(1, Ordering::Relaxed) / FORK;
        count();
        // Release: pairs with the Acquire in `any`; who sees that nothing is in progress sees the counts of what was.
        let end = |word: u64| (word / FORK == forks).then(|| word - 1);
        self.0.fetch_update(Ordering::Release, Ordering::Relaxed, end).is_ok()
    }

    /// Whether there are some.
    pub(crate) fn any(&self) -> bool {
        !self.0.load(Ordering::Acquire).is_multiple_of(FORK)
    }

    /// In a forked child: forgets all, and says whether there were some.
    pub(crate) fn forget(&self) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        self.0.store((word / FORK + 1) * FORK, Ordering::Relaxed);
        !word.is_multiple_of(FORK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_that_a_fork_came_into_is_told_and_counted_out_once() {
        let in_flight = InFlight::new();
        assert!(in_flight.during(|| assert!(in_flight.any())) && !in_flight.any());
        let ended = in_flight.during(|| {
            assert!(in_flight.forget());
            assert!(!in_flight.any() && in_flight.during(|| ()));
        });
        assert!(!ended && !in_flight.any() && !in_flight.forget());
    }
}
