//! What one thread has allocated and freed.
//!
//! Plain data, made by the aggregator, for any thread.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::counts::Counts;

/// The name of the row of all that no living thread has counted.
const OTHERS: &str = "(ended, or without counters)";

/// What one thread has allocated and freed since it began; or, in one row, what everybody else has.
///
/// A block counts where it is allocated and again where it is freed: so a thread that frees what others have allocated
/// has a negative [`live_bytes`](Counts::live_bytes), and what is live of a row says nothing about who holds it. Rows
/// contain what heaptally itself allocated, which has a thread named `heaptally`.
///
/// # Examples
///
/// ```
/// use heaptally_profile::{Counts, ThreadRow};
///
/// let counts = Counts { freed_blocks: 2, freed_bytes: 64, ..Counts::ZERO };
/// let row = ThreadRow::of_thread(4711, "worker".into(), counts);
/// assert_eq!((row.name(), row.os_id(), row.counts().live_bytes()), ("worker", Some(4711), -64));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadRow {
    name: Arc<str>,
    os_id: Option<u32>,
    counts: Counts,
}

impl ThreadRow {
    /// The row of one thread. The name is empty while it is not known.
    pub fn of_thread(os_id: u32, name: Arc<str>, counts: Counts) -> Self {
        Self { name, os_id: Some(os_id), counts }
    }

    /// The row of all threads that have ended, and of what was counted elsewhere than in a thread's own counters.
    pub fn of_others(counts: Counts) -> Self {
        Self { name: OTHERS.into(), os_id: None, counts }
    }

    /// What the system calls the thread, 15 bytes at most. Empty while it is not known; `(ended, or without counters)`
    /// for the row of the others.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The system's id of the thread, as `gettid` gives it; `None` for the row of the others.
    pub fn os_id(&self) -> Option<u32> {
        self.os_id
    }

    /// What was allocated and freed.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

/// Most allocated bytes first, then by id; the others last.
pub(crate) fn sort(rows: &mut [ThreadRow]) {
    rows.sort_unstable_by_key(|row| (row.os_id.is_none(), Reverse(row.counts.allocated_bytes), row.os_id));
}
