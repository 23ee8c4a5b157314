//! Snapshots whose rows add up to their totals without the tolerance that `Snapshot::check` grants to a program in
//! motion.
//!
//! Called on the thread of a test, and in forked children.

use heaptally::Snapshot;
use heaptally_tests::sum_of_rows;

/// Snapshots that may be taken before one is of a quiet point.
const ATTEMPTS: usize = 100;

/// A snapshot whose rows add up to its totals exactly. Every snapshot taken on the way passes its own check, or the
/// text says how it fails. Threads that have just been started or joined may still be allocating when it is first
/// asked for.
pub(crate) fn quiet_snapshot() -> Result<Snapshot, String> {
    let mut difference = String::new();
    for _ in 0..ATTEMPTS {
        let snapshot = heaptally::snapshot();
        snapshot.check().map_err(|violation| violation.to_string())?;
        let sum = sum_of_rows(&snapshot);
        let totals = snapshot.totals().counts();
        if sum == totals {
            return Ok(snapshot);
        }
        difference = format!("rows add up to {sum:?}, the totals are {totals:?}");
    }
    Err(difference)
}
