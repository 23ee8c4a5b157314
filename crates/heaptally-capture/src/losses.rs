//! What could not be attributed, counted where it happens.
//!
//! Written on any thread inside the hook with relaxed additions, read by snapshots. Every count here has blocks and
//! bytes in a pseudo-row beside it: this says why, the row says how much.

use crate::sync::{AtomicU64, Ordering};

/// Counts of events since the process began.
pub struct Losses {
    /// Allocations made inside a signal handler that interrupted the hook, or a thread's registration.
    pub nested: AtomicU64,
    /// Allocations whose stack the unwinder could not give.
    pub capture_failed: AtomicU64,
    /// Allocations whose stack found no room, not even for its innermost frames.
    pub stacks_full: AtomicU64,
    /// Stacks of which only the innermost frames were recorded, because there was no room for more.
    pub shortened_stacks: AtomicU64,
    /// Allocations whose new stack found no room in the rings as a whole, or no memory for another segment.
    pub ring_full: AtomicU64,
    /// Stacks that found no room in the store of the aggregator.
    pub unstored_stacks: AtomicU64,
    /// Freed blocks for whose ages there was no memory.
    pub unknown_ages: AtomicU64,
    /// Stacks that were cut at the depth limit.
    pub truncated_stacks: AtomicU64,
    /// Times a thread left the hook by a jump out of a signal handler.
    pub abandoned: AtomicU64,
    /// Address of the last block freed without a valid tag.
    pub last_unknown_address: AtomicU64,
    /// Size of that block as its free had it.
    pub last_unknown_size: AtomicU64,
}

impl Losses {
    /// All zero.
    pub(crate) const fn new() -> Self {
        Self {
            nested: AtomicU64::new(0),
            capture_failed: AtomicU64::new(0),
            stacks_full: AtomicU64::new(0),
            shortened_stacks: AtomicU64::new(0),
            ring_full: AtomicU64::new(0),
            unstored_stacks: AtomicU64::new(0),
            unknown_ages: AtomicU64::new(0),
            truncated_stacks: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            last_unknown_address: AtomicU64::new(0),
            last_unknown_size: AtomicU64::new(0),
        }
    }

    /// Counts one event.
    pub fn count(event: &AtomicU64) {
        // Relaxed: a count on its own, which publishes nothing.
        event.fetch_add(1, Ordering::Relaxed);
    }
}
