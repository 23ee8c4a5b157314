//! Snapshots whose rows add up to their totals without the tolerance that `Snapshot::check` grants to a program in
//! motion.
//!
//! Called on the thread of a test, and in forked children.

use std::thread;
use std::time::{Duration, Instant};

use heaptally::Snapshot;
use heaptally_tests::sum_of_rows;

/// How long others may go on allocating. Time and not attempts: on a busy machine std takes seconds to print the
/// backtrace of a panic, and allocates all the while.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// A snapshot whose rows add up to its totals exactly. Every snapshot taken on the way passes its own check, or the
/// text says how it fails. Threads that have just been started or joined may still be allocating when it is first
/// asked for.
pub(crate) fn quiet_snapshot() -> Result<Snapshot, String> {
    let begun = Instant::now();
    loop {
        let snapshot = heaptally::snapshot();
        snapshot.check().map_err(|violation| violation.to_string())?;
        let sum = sum_of_rows(&snapshot);
        let totals = snapshot.totals().counts();
        if sum == totals {
            return Ok(snapshot);
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("rows add up to {sum:?}, the totals are {totals:?}"));
        }
        thread::sleep(PAUSE);
    }
}
