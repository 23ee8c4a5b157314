//! How the hook wakes the aggregator: one word, and a system call at most once per drain.
//!
//! Rung on any thread, also inside the allocator; waited for by the aggregator alone. A std condition variable would
//! do the same behind a lock, and the hook takes none.

use core::time::Duration;

use crate::sync::{AtomicU32, Ordering};
use crate::sys;

const QUIET: u32 = 0;
const RUNG: u32 = 1;

/// See the module's head.
pub struct Doorbell(AtomicU32);

impl Doorbell {
    /// Not rung.
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(QUIET))
    }

    /// Wakes whoever waits; no system call when it was rung already.
    pub fn ring(&self) {
        // Release: pairs with the Acquire in `wait`; what was asked for is visible to who was woken. Stored also when it
        // was rung already: a ring of somebody else's, silenced at this instant, says nothing of what was asked for here.
        if self.0.swap(RUNG, Ordering::Release) == QUIET {
            sys::futex_wake_all(&self.0);
        }
    }

    /// Blocks until rung or until `timeout` has passed, and silences the bell. May return for no reason.
    pub fn wait(&self, timeout: Duration) {
        if self.0.load(Ordering::Relaxed) == QUIET {
            sys::futex_wait(&self.0, QUIET, timeout);
        }
        // Acquire: pairs with the Release in `ring`. Silenced before the work is looked at, so that a ring during the
        // work is kept for the next wait.
        self.0.swap(QUIET, Ordering::Acquire);
    }

    #[cfg(test)]
    pub(crate) fn is_rung(&self) -> bool {
        self.0.load(Ordering::Relaxed) == RUNG
    }
}
