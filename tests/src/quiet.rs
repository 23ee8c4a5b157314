//! Quiet points: moments at which nobody allocates, so that numbers which are read one after the other belong
//! together.
//!
//! A test's own threads are quiet when the test says so; the aggregator and the test harness are not asked. They fall
//! quiet by themselves, so what is not equal at once is compared again. A number that was lost or counted twice stays
//! wrong.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use heaptally::{Counts, SiteKind, Snapshot};

/// How long others may take to fall quiet.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asserts that the two values `read` gives become equal. `read` should not allocate.
#[track_caller]
pub fn assert_settles<T: PartialEq + Debug>(what: &str, mut read: impl FnMut() -> (T, T)) {
    let begun = Instant::now();
    loop {
        let (left, right) = read();
        if left == right {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {left:?} is not {right:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Takes snapshots until one falls into a quiet point, and asserts that its rows add up to its totals. Each of them
/// passes `Snapshot::check`.
#[track_caller]
pub fn assert_conserved(what: &str) -> Snapshot {
    let mut last = None;
    assert_settles(what, || {
        let snapshot = heaptally::snapshot();
        assert_eq!(snapshot.check(), Ok(()), "{what}");
        let sums = (sum_of_rows(&snapshot), snapshot.totals().counts());
        last = Some(snapshot);
        sums
    });
    last.expect("at least one snapshot")
}

/// All rows added up, without the frees of unknown blocks, which are in no total.
pub fn sum_of_rows(snapshot: &Snapshot) -> Counts {
    let rows = snapshot.sites().iter().filter(|site| site.kind() != SiteKind::UnknownFrees);
    rows.fold(Counts::ZERO, |sum, site| sum + site.counts())
}
