//! The process-wide counters, which exist besides those of the sites and are read without them.
//!
//! Used on every thread; nothing here allocates or panics.

use std::ops::Sub;

use crate::counts::Counts;

/// Exact counters of the whole process, from its first allocation on.
///
/// They count every block that the allocator serves, heaptally's own included. They are read thread
/// by thread while the others run: each number was true for its thread when it was read, and all
/// are exact when nobody allocates.
///
/// # Examples
///
/// ```
/// use heaptally_profile::Totals;
///
/// let before = Totals { allocated_blocks: 10, allocated_bytes: 640, ..Totals::default() };
/// let after = Totals { allocated_blocks: 11, allocated_bytes: 704, ..Totals::default() };
/// assert_eq!(before.live_bytes(), 640);
/// assert_eq!((after - before).live_bytes(), 64);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Blocks handed out. A successful `realloc` hands out one and frees one.
    pub allocated_blocks: u64,
    /// Bytes asked for by those blocks, without what the allocator adds.
    pub allocated_bytes: u64,
    /// Blocks given back.
    pub freed_blocks: u64,
    /// Bytes asked for by the blocks given back.
    pub freed_bytes: u64,
}

impl Totals {
    /// Blocks in use. Frees are read before allocations, so this never goes below zero.
    pub const fn live_blocks(&self) -> u64 {
        self.allocated_blocks.wrapping_sub(self.freed_blocks)
    }

    /// Requested bytes in use. Frees are read before allocations, so this never goes below zero.
    pub const fn live_bytes(&self) -> u64 {
        self.allocated_bytes.wrapping_sub(self.freed_bytes)
    }

    /// The same four numbers as [`Counts`], which can be added and compared with those of sites.
    pub const fn counts(&self) -> Counts {
        Counts {
            allocated_blocks: self.allocated_blocks,
            allocated_bytes: self.allocated_bytes,
            freed_blocks: self.freed_blocks,
            freed_bytes: self.freed_bytes,
        }
    }
}

impl From<Counts> for Totals {
    fn from(counts: Counts) -> Self {
        Self {
            allocated_blocks: counts.allocated_blocks,
            allocated_bytes: counts.allocated_bytes,
            freed_blocks: counts.freed_blocks,
            freed_bytes: counts.freed_bytes,
        }
    }
}

impl Sub for Totals {
    type Output = Counts;

    fn sub(self, earlier: Self) -> Counts {
        self.counts() - earlier.counts()
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::counts;

    use super::*;

    #[test]
    fn totals_and_counts_hold_the_same_numbers() {
        let totals = Totals::from(counts(7, 700, 3, 250));
        assert_eq!((totals.live_blocks(), totals.live_bytes()), (4, 450));
        assert_eq!(totals.counts(), counts(7, 700, 3, 250));
        assert_eq!(totals - Totals::from(counts(5, 600, 3, 200)), counts(2, 100, 0, 50));
    }
}
