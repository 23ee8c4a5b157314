//! The four exact counters of a site, a function, a measured closure, or a difference of any of
//! these.
//!
//! Used on every thread; nothing here allocates or panics, so that the allocator's own code may use
//! it too.

use std::ops::{Add, AddAssign, Sub};

/// Exact counters of blocks and requested bytes. Nothing is sampled, estimated or rounded.
///
/// Arithmetic wraps, and never panics or saturates. Counters only grow, so `later - earlier` does
/// not wrap; where a difference is negative all the same (bytes charged to another function since),
/// wrapping keeps [`live_bytes`](Counts::live_bytes) of the difference exact, which saturating
/// would not.
///
/// # Examples
///
/// ```
/// use heaptally_profile::Counts;
///
/// let earlier = Counts { allocated_blocks: 2, allocated_bytes: 48, ..Counts::ZERO };
/// let later = Counts { allocated_blocks: 3, allocated_bytes: 64, freed_blocks: 2, freed_bytes: 48 };
/// let change = later - earlier;
/// assert_eq!(change.allocated_bytes, 16);
/// assert_eq!(change.live_bytes(), -32);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Blocks handed out. A successful `realloc` hands out one and frees one.
    pub allocated_blocks: u64,
    /// Bytes asked for by those blocks, without what the allocator adds.
    pub allocated_bytes: u64,
    /// Blocks given back.
    pub freed_blocks: u64,
    /// Bytes asked for by the blocks given back.
    pub freed_bytes: u64,
}

impl Counts {
    /// No block and no byte.
    pub const ZERO: Self = Self { allocated_blocks: 0, allocated_bytes: 0, freed_blocks: 0, freed_bytes: 0 };

    /// Blocks in use: allocated minus freed. Negative in a difference that freed more than it
    /// allocated.
    pub const fn live_blocks(&self) -> i64 {
        self.allocated_blocks.wrapping_sub(self.freed_blocks).cast_signed()
    }

    /// Requested bytes in use: allocated minus freed. Negative in a difference that freed more than
    /// it allocated.
    pub const fn live_bytes(&self) -> i64 {
        self.allocated_bytes.wrapping_sub(self.freed_bytes).cast_signed()
    }

    /// Whether nothing was allocated and nothing freed.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Combines two sets of counters, field by field.
    fn zip(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            allocated_blocks: combine(self.allocated_blocks, other.allocated_blocks),
            allocated_bytes: combine(self.allocated_bytes, other.allocated_bytes),
            freed_blocks: combine(self.freed_blocks, other.freed_blocks),
            freed_bytes: combine(self.freed_bytes, other.freed_bytes),
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_sub)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::counts;

    use super::*;

    #[test]
    fn live_is_allocated_minus_freed() {
        let counts = counts(5, 500, 2, 120);
        assert_eq!((counts.live_blocks(), counts.live_bytes()), (3, 380));
    }

    #[test]
    fn sums_and_differences_are_taken_field_by_field() {
        let mut sum = counts(5, 500, 2, 120) + counts(1, 20, 1, 20);
        assert_eq!(sum, counts(6, 520, 3, 140));
        sum += counts(4, 80, 0, 0);
        assert_eq!(sum, counts(10, 600, 3, 140));
        assert_eq!(sum - counts(6, 520, 3, 140), counts(4, 80, 0, 0));
    }

    #[test]
    fn a_negative_difference_keeps_exact_live_numbers() {
        let change = counts(0, 0, 0, 0) - counts(5, 500, 2, 120);
        assert_eq!((change.live_blocks(), change.live_bytes()), (-3, -380));
        assert_eq!(change + counts(5, 500, 2, 120), Counts::ZERO);
    }

    #[test]
    fn only_zero_is_zero() {
        assert!(Counts::default().is_zero());
        assert!(!counts(0, 0, 0, 1).is_zero());
    }
}
