//! What one thread allocates and frees between two places of its code.
//!
//! Used by the program on the thread that is counted. Nothing here allocates; an allocation costs what it costs without.

use std::marker::PhantomData;

use crate::{Counts, RegionReport, engine};

/// What the calling thread has allocated and freed since [`Region::new`] or [`Region::reset`], for scopes that are no
/// closure: see [`measure`](crate::measure), whose counts are the same.
///
/// Exact, works without [`start`](crate::start), allocates nothing. Beginning one and asking it once costs a few
/// nanoseconds together, and an allocation costs nothing more. Regions may nest, overlap and be kept.
///
/// A block counts where it is allocated and again where it is freed: one that came from outside and is freed inside
/// makes [`live_bytes`](Counts::live_bytes) of the change negative. Other threads' allocations are not counted, nor
/// those of signal handlers that interrupt the allocator; what heaptally itself allocates on this thread is, for example
/// in [`snapshot`](crate::snapshot). A thread that is being torn down, that came when 65,536 others were alive, or that
/// found no memory for them, has no counters of its own: what it allocates meanwhile is not in the change.
///
/// A region belongs to its thread:
///
/// ```compile_fail,E0277
/// let region = heaptally::Region::new();
/// std::thread::spawn(move || region.change());
/// ```
///
/// ```compile_fail,E0277
/// let region = heaptally::Region::new();
/// std::thread::scope(|scope| { scope.spawn(|| region.change()); });
/// ```
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
///
/// # fn main() {
/// let mut region = heaptally::Region::new();
/// let kept = Vec::<u8>::with_capacity(100);
/// let change = region.change();
/// assert_eq!((change.allocated_blocks, change.allocated_bytes, change.freed_blocks), (1, 100, 0));
///
/// region.reset();
/// drop(kept);
/// assert_eq!(region.change().live_bytes(), -100);
/// # }
/// ```
#[must_use = "it counts until it is asked: call `change`"]
#[derive(Debug)]
pub struct Region {
    begin: Counts,
    /// Not of another thread, whose counters are others.
    _thread: PhantomData<*const ()>,
}

impl Region {
    /// Begins here.
    pub fn new() -> Self {
        Self { begin: engine::thread_counts(), _thread: PhantomData }
    }

    /// What the thread has allocated and freed since the region began. The region goes on.
    pub fn change(&self) -> Counts {
        engine::thread_counts() - self.begin
    }

    /// Begins anew, here.
    pub fn reset(&mut self) {
        self.begin = engine::thread_counts();
    }

    /// [`Region::change`] as something that prints. Functions are counted for all threads together, so there are none in
    /// it: see [`ProcessRegion::with_sites`](crate::ProcessRegion::with_sites).
    pub fn report(&self) -> RegionReport {
        RegionReport::new(self.change(), None)
    }
}

impl Default for Region {
    fn default() -> Self {
        Self::new()
    }
}
