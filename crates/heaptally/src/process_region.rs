//! What all threads of the program allocate and free between two moments.
//!
//! Used by the program on any thread. Plain counts allocate nothing; snapshots are taken only where they are asked for.

use crate::{Counts, RegionReport, Snapshot, engine};

/// What all threads of the program have allocated and freed since the region began, without the blocks of heaptally
/// itself.
///
/// Works without [`start`](crate::start). Beginning and asking read the counters of each thread, three times as a rule:
/// time goes with the number of threads that have lived at once, 30 to 200 ns for each; an allocation costs
/// nothing more.
///
/// # Exactness
///
/// Nobody is paused. Each counter is exact for the instant at which it was read, as those of
/// [`totals`](crate::totals) are; if no other thread allocates or frees at the beginning and at the end, the change is
/// exact to the byte. From the totals the row "(heaptally itself)" is subtracted, at an instant at which heaptally is at
/// rest. It works while some thread takes a snapshot, and for a moment when new stacks have come up; if it does not come to
/// rest for one reading out of nine, what it allocates and frees during the last of them, some microseconds, is left in. A
/// thread that drops a snapshot at that instant may have one free left in. Where `start` is
/// [unsupported](crate::StartError::Unsupported), heaptally's own few blocks are not told apart.
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
///
/// # fn main() {
/// let region = heaptally::ProcessRegion::new();
/// let kept = std::thread::spawn(|| Vec::<u8>::with_capacity(1_000_000)).join().unwrap();
/// assert!(region.change().live_bytes() >= 1_000_000);
/// # drop(kept);
/// # }
/// ```
#[must_use = "it counts until it is asked: call `change` or `report`"]
#[derive(Debug)]
pub struct ProcessRegion {
    begin: Counts,
    /// Of the beginning, if functions were asked for.
    sites: Option<Box<Snapshot>>,
}

impl ProcessRegion {
    /// Begins here. Allocates nothing.
    pub fn new() -> Self {
        Self { begin: engine::program_counts(), sites: None }
    }

    /// Begins here, with a snapshot, so that [`ProcessRegion::report`] can tell by which functions the heap has grown.
    ///
    /// The snapshot is taken first, and costs what [`snapshot`](crate::snapshot) does: milliseconds as a rule, in which
    /// the caller waits. It is kept as long as the region.
    pub fn with_sites() -> Self {
        let sites = Some(snapshot());
        Self { begin: engine::program_counts(), sites }
    }

    /// What was allocated and freed since the region began. The region goes on.
    pub fn change(&self) -> Counts {
        engine::program_counts() - self.begin
    }

    /// Begins anew, here: with a new snapshot if it was begun with one.
    pub fn reset(&mut self) {
        if let Some(sites) = &mut self.sites {
            *sites = snapshot();
        }
        self.begin = engine::program_counts();
    }

    /// [`ProcessRegion::change`], and by which functions, as something that prints.
    ///
    /// The functions are there if tracking is on and the region was begun by [`ProcessRegion::with_sites`]; then this takes
    /// a second snapshot, and blocks the caller as that does. They are compared from snapshot to snapshot, which lie a
    /// little outside of the two moments of the counts: what other threads allocate in between is in the functions alone.
    ///
    /// # Examples
    ///
    /// ```
    /// #[global_allocator]
    /// static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
    ///
    /// # fn main() {
    /// let region = heaptally::ProcessRegion::new();
    /// let report = region.report();
    /// assert!(report.diff().is_none());
    /// println!("{report}");
    /// # }
    /// ```
    pub fn report(&self) -> RegionReport {
        let change = self.change();
        let diff = self.sites.as_ref().filter(|_| engine::is_running()).map(|begin| {
            let end = engine::snapshot();
            engine::internal(|| end.since(begin))
        });
        RegionReport::new(change, diff)
    }
}

impl Default for ProcessRegion {
    fn default() -> Self {
        Self::new()
    }
}

/// A snapshot whose memory is heaptally's.
fn snapshot() -> Box<Snapshot> {
    engine::internal(|| Box::new(engine::snapshot()))
}
