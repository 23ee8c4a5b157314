//! Waits for a quiet point.
//!
//! Called on the thread of a test, at its begin: the thread of the test harness has just started that thread, and may
//! not have gone to sleep yet.

use std::thread;
use std::time::Duration;

/// Returns once nobody has allocated or freed for a while.
pub(crate) fn settled() {
    loop {
        let before = heaptally::totals();
        thread::sleep(Duration::from_millis(50));
        if heaptally::totals() == before {
            return;
        }
    }
}
