//! Conservation: the sites of a snapshot add up to the totals that were counted beside them.
//!
//! A pure function of a snapshot, called everywhere in tests and benchmarks.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::counts::Counts;
use crate::site_kind::SiteKind;
use crate::snapshot::Snapshot;
use crate::thread_row::ThreadRow;

/// One of the four numbers of [`Counts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// [`Counts::allocated_blocks`].
    AllocatedBlocks,
    /// [`Counts::allocated_bytes`].
    AllocatedBytes,
    /// [`Counts::freed_blocks`].
    FreedBlocks,
    /// [`Counts::freed_bytes`].
    FreedBytes,
}

impl Counter {
    const ALL: [Self; 4] = [Self::AllocatedBlocks, Self::AllocatedBytes, Self::FreedBlocks, Self::FreedBytes];

    fn of(self, counts: Counts) -> u64 {
        match self {
            Self::AllocatedBlocks => counts.allocated_blocks,
            Self::AllocatedBytes => counts.allocated_bytes,
            Self::FreedBlocks => counts.freed_blocks,
            Self::FreedBytes => counts.freed_bytes,
        }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AllocatedBlocks => "allocated blocks",
            Self::AllocatedBytes => "allocated bytes",
            Self::FreedBlocks => "freed blocks",
            Self::FreedBytes => "freed bytes",
        })
    }
}

/// How a snapshot fails to add up: a bug in heaptally. Returned by [`Snapshot::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The sites have more than the totals that were read after them.
    SitesAboveTotals {
        /// The number that does not add up.
        counter: Counter,
        /// Its sum over all sites.
        sites: u128,
        /// Its value in the totals.
        totals: u64,
    },
    /// The sites have less than the totals, although nothing happened while they were read.
    SitesBelowTotals {
        /// The number that does not add up.
        counter: Counter,
        /// Its sum over all sites.
        sites: u128,
        /// Its value in the totals.
        totals: u64,
    },
    /// The threads have more than the totals that were read after them.
    ThreadsAboveTotals {
        /// The number that does not add up.
        counter: Counter,
        /// Its sum over all threads.
        threads: u128,
        /// Its value in the totals.
        totals: u64,
    },
    /// The threads have less than the totals, although nothing happened while they were read.
    ThreadsBelowTotals {
        /// The number that does not add up.
        counter: Counter,
        /// Its sum over all threads.
        threads: u128,
        /// Its value in the totals.
        totals: u64,
    },
    /// A site has freed more than it allocated.
    FreedAboveAllocated {
        /// [`Counter::FreedBlocks`] or [`Counter::FreedBytes`].
        counter: Counter,
        /// The kind of the site.
        kind: SiteKind,
        /// The function, or the pseudo-row, that the site is charged to.
        function: Arc<str>,
        /// What the site allocated.
        allocated: u64,
        /// What it freed.
        freed: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SitesAboveTotals { counter, sites, totals } => {
                write!(f, "{counter}: sites add up to {sites}, more than the totals, {totals}")
            }
            Self::SitesBelowTotals { counter, sites, totals } => {
                write!(f, "{counter}: sites add up to {sites}, less than the totals, {totals}")
            }
            Self::ThreadsAboveTotals { counter, threads, totals } => {
                write!(f, "{counter}: threads add up to {threads}, more than the totals, {totals}")
            }
            Self::ThreadsBelowTotals { counter, threads, totals } => {
                write!(f, "{counter}: threads add up to {threads}, less than the totals, {totals}")
            }
            Self::FreedAboveAllocated { counter, kind: _, function, allocated, freed } => {
                write!(f, "{counter}: {function} freed {freed}, more than the {allocated} it allocated")
            }
        }?;
        f.write_str("; report this as a bug of heaptally")
    }
}

impl Error for Violation {}

pub(crate) fn check(snapshot: &Snapshot) -> Result<(), Violation> {
    let known = || snapshot.sites().iter().filter(|site| site.kind() != SiteKind::UnknownFrees);
    for site in known() {
        let counts = site.counts();
        for (counter, allocated, freed) in [
            (Counter::FreedBlocks, counts.allocated_blocks, counts.freed_blocks),
            (Counter::FreedBytes, counts.allocated_bytes, counts.freed_bytes),
        ] {
            if freed > allocated {
                let function = Arc::clone(&site.owner().function);
                return Err(Violation::FreedAboveAllocated { counter, kind: site.kind(), function, allocated, freed });
            }
        }
    }
    for (sites, counter) in sums(known().map(|site| site.counts())).into_iter().zip(Counter::ALL) {
        let totals = counter.of(snapshot.totals().counts());
        if sites > totals.into() {
            return Err(Violation::SitesAboveTotals { counter, sites, totals });
        }
        if snapshot.is_quiet() && sites < totals.into() {
            // A jump out of the allocator may leave one operation in the totals and not in its row, or its blocks and
            // not its bytes.
            let abandoned = snapshot.losses().abandoned;
            let explained = match counter {
                Counter::AllocatedBlocks | Counter::FreedBlocks => u128::from(totals) - sites <= abandoned.into(),
                Counter::AllocatedBytes | Counter::FreedBytes => abandoned > 0,
            };
            if !explained {
                return Err(Violation::SitesBelowTotals { counter, sites, totals });
            }
        }
    }
    check_threads(snapshot)
}

/// The counters of threads are those of the totals: nothing explains a difference.
fn check_threads(snapshot: &Snapshot) -> Result<(), Violation> {
    if snapshot.threads().is_empty() {
        return Ok(());
    }
    for (threads, counter) in sums(snapshot.threads().iter().map(ThreadRow::counts)).into_iter().zip(Counter::ALL) {
        let totals = counter.of(snapshot.totals().counts());
        if threads > totals.into() {
            return Err(Violation::ThreadsAboveTotals { counter, threads, totals });
        }
        if snapshot.is_quiet() && threads < totals.into() {
            return Err(Violation::ThreadsBelowTotals { counter, threads, totals });
        }
    }
    Ok(())
}

/// In 128 bits: a damaged counter must not make a sum wrap round to the right answer.
fn sums(counts: impl Iterator<Item = Counts>) -> [u128; 4] {
    counts.fold([0; 4], |sums, counts| {
        let terms = Counter::ALL.map(|counter| u128::from(counter.of(counts)));
        std::array::from_fn(|counter| sums[counter] + terms[counter])
    })
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{counts, site};
    use crate::losses::Losses;
    use crate::site::Site;
    use crate::snapshot::SnapshotParts;

    use super::*;

    fn check_of(sites: Vec<Site>, before: Counts, after: Counts) -> Result<(), Violation> {
        let parts = SnapshotParts {
            sites,
            totals_before: Some(before.into()),
            totals: after.into(),
            ..SnapshotParts::default()
        };
        Snapshot::from_parts(parts).check()
    }

    fn two_sites() -> Vec<Site> {
        vec![site("app::a", counts(3, 30, 1, 10)), site("app::b", counts(2, 12, 2, 12))]
    }

    #[test]
    fn sites_that_equal_the_totals_pass() {
        assert_eq!(check_of(two_sites(), counts(5, 42, 3, 22), counts(5, 42, 3, 22)), Ok(()));
        assert_eq!(check_of(Vec::new(), Counts::ZERO, Counts::ZERO), Ok(()));
    }

    #[test]
    fn totals_that_grew_meanwhile_may_be_above_the_sites() {
        assert_eq!(check_of(two_sites(), counts(5, 42, 3, 22), counts(9, 99, 4, 30)), Ok(()));
    }

    #[test]
    fn each_counter_above_the_totals_is_found() {
        let mut found = Vec::new();
        for after in [counts(4, 42, 3, 22), counts(5, 41, 3, 22), counts(5, 42, 2, 22), counts(5, 42, 3, 21)] {
            match check_of(two_sites(), Counts::ZERO, after) {
                Err(Violation::SitesAboveTotals { counter, sites, totals }) => {
                    assert_eq!(sites, u128::from(totals) + 1);
                    found.push(counter);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(found, Counter::ALL);
    }

    #[test]
    fn sites_below_totals_that_stood_still_are_found() {
        let totals = counts(5, 43, 3, 22);
        let violation = check_of(two_sites(), totals, totals).unwrap_err();
        assert_eq!(violation, Violation::SitesBelowTotals { counter: Counter::AllocatedBytes, sites: 42, totals: 43 });
        assert_eq!(
            violation.to_string(),
            "allocated bytes: sites add up to 42, less than the totals, 43; report this as a bug of \
             heaptally"
        );
    }

    #[test]
    fn abandoned_operations_explain_as_many_blocks() {
        let check_with = |abandoned, after: Counts| {
            let parts = SnapshotParts {
                sites: two_sites(),
                totals_before: Some(after.into()),
                totals: after.into(),
                losses: Losses { abandoned, ..Losses::default() },
                ..SnapshotParts::default()
            };
            Snapshot::from_parts(parts).check()
        };
        let two_more = counts(7, 100, 3, 22);
        assert_eq!(check_with(2, two_more), Ok(()));
        let violation = check_with(1, two_more).unwrap_err();
        assert!(matches!(violation, Violation::SitesBelowTotals { counter: Counter::AllocatedBlocks, .. }));
    }

    #[test]
    fn a_site_that_freed_more_than_it_allocated_is_named() {
        let sites = vec![site("app::a", counts(1, 8, 1, 9))];
        let violation = check_of(sites, Counts::ZERO, counts(1, 8, 1, 9)).unwrap_err();
        assert_eq!(
            violation.to_string(),
            "freed bytes: app::a freed 9, more than the 8 it allocated; report this as a bug of \
             heaptally"
        );
        let sites = vec![Site::pseudo(SiteKind::Paused, counts(1, 8, 2, 8))];
        let violation = check_of(sites, Counts::ZERO, counts(1, 8, 2, 8)).unwrap_err();
        assert!(matches!(
            violation,
            Violation::FreedAboveAllocated { counter: Counter::FreedBlocks, kind: SiteKind::Paused, .. }
        ));
    }

    #[test]
    fn a_counter_that_wrapped_does_not_add_up_to_the_right_sum() {
        let sites = vec![site("app::a", counts(0, u64::MAX, 0, 0)), site("app::b", counts(0, 1, 0, 0))];
        assert!(matches!(
            check_of(sites, Counts::ZERO, Counts::ZERO),
            Err(Violation::SitesAboveTotals { counter: Counter::AllocatedBytes, sites, totals: 0 }) if sites == 1 << 64
        ));
    }

    #[test]
    fn threads_add_up_as_sites_do() {
        let check_of = |threads: Vec<ThreadRow>, before: Counts| {
            let parts = SnapshotParts {
                sites: two_sites(),
                threads,
                totals_before: Some(before.into()),
                totals: counts(5, 42, 3, 22).into(),
                ..SnapshotParts::default()
            };
            Snapshot::from_parts(parts).check()
        };
        let quiet = counts(5, 42, 3, 22);
        // The second has freed what others allocated.
        let thread = |id, counts| ThreadRow::of_thread(id, "".into(), counts);
        let three = |bytes| {
            vec![
                thread(1, counts(4, bytes, 0, 0)),
                thread(2, counts(0, 0, 2, 20)),
                ThreadRow::of_others(counts(1, 2, 1, 2)),
            ]
        };
        assert_eq!(check_of(three(40), quiet), Ok(()));
        assert_eq!(check_of(three(39), Counts::ZERO), Ok(()));
        let counter = Counter::AllocatedBytes;
        let below = Violation::ThreadsBelowTotals { counter, threads: 41, totals: 42 };
        assert_eq!(check_of(three(39), quiet), Err(below));
        let above = Violation::ThreadsAboveTotals { counter, threads: 43, totals: 42 };
        assert_eq!(
            above.to_string(),
            "allocated bytes: threads add up to 43, more than the totals, 42; report this as a bug of heaptally"
        );
        assert_eq!(check_of(three(41), Counts::ZERO), Err(above));
    }

    #[test]
    fn frees_without_a_known_allocation_are_exempt() {
        let mut sites = two_sites();
        sites.push(Site::pseudo(SiteKind::UnknownFrees, counts(0, 0, 7, 700)));
        assert_eq!(check_of(sites, counts(5, 42, 3, 22), counts(5, 42, 3, 22)), Ok(()));
    }
}
