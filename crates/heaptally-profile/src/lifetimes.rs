//! How long blocks live: what is known of the ages of those that are live, and of those that were freed.
//!
//! Sums, exact, which add up over sites like the counters do. No number here is the age of one block.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use crate::counts::Counts;
use crate::tick_number::TickNumber;

/// Ranges of ages: see [`Lifetimes::freed_by_age`].
pub const AGES: usize = 6;

/// What the ticks in which blocks were born and freed add up to, over a site or a function.
///
/// A block's *age* is counted in [ticks](TickNumber): one born and freed in the same tick has the age 0, and an age may be off by
/// one tick either way. Blocks that were allocated before `start` were born in tick 0, and so are those of the row
/// `(untagged)`.
///
/// # Examples
///
/// ```
/// use heaptally_profile::{Counts, Lifetimes, TickNumber};
///
/// // Three blocks, born in the ticks 4, 4 and 10, of which one of the former was freed in tick 5.
/// let counts = Counts { allocated_blocks: 3, freed_blocks: 1, ..Counts::ZERO };
/// let lifetimes =
///     Lifetimes { allocated_births: 18, freed_births: 4, freed_by_age: [0, 1, 0, 0, 0, 0], ..Lifetimes::ZERO };
/// // Those that live were born in the ticks 4 and 10; in tick 20 they are 16 and 10 ticks old.
/// assert_eq!(lifetimes.mean_age(counts, TickNumber::new(20)), Some(TickNumber::LENGTH * 13));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lifetimes {
    /// Sum of the ticks in which the allocated blocks were born.
    pub allocated_births: u64,
    /// The same of the freed blocks.
    pub freed_births: u64,
    /// Of the freed blocks, those that were freed by a thread that had allocated nothing since it allocated them.
    pub temporaries: u64,
    /// The freed blocks by age in ticks: none; 1 to 7 (less than two seconds); 8 to 63 (16 s); 64 to 511 (two minutes); 512
    /// to 4,095 (17 minutes); more.
    pub freed_by_age: [u64; AGES],
}

impl Lifetimes {
    /// Of no blocks.
    pub const ZERO: Self = Self { allocated_births: 0, freed_births: 0, temporaries: 0, freed_by_age: [0; AGES] };

    /// The mean age, at the tick `now`, of the blocks that are live; `counts` are those of the same site. `None` when none
    /// are.
    pub fn mean_age(&self, counts: Counts, now: TickNumber) -> Option<Duration> {
        let live_blocks = u64::try_from(counts.live_blocks()).ok().filter(|&blocks| blocks > 0)?;
        let births = self.allocated_births.wrapping_sub(self.freed_births);
        // 128 bits: a million blocks for half a year are 2^46 ticks, in nanoseconds 2^74.
        let ages = (u128::from(live_blocks) * u128::from(now.number())).saturating_sub(u128::from(births));
        let mean_ns = ages * TickNumber::LENGTH.as_nanos() / u128::from(live_blocks);
        u64::try_from(mean_ns).ok().map(Duration::from_nanos)
    }

    /// Combines two, field by field.
    fn zip(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            allocated_births: combine(self.allocated_births, other.allocated_births),
            freed_births: combine(self.freed_births, other.freed_births),
            temporaries: combine(self.temporaries, other.temporaries),
            freed_by_age: std::array::from_fn(|age| combine(self.freed_by_age[age], other.freed_by_age[age])),
        }
    }
}

impl Add for Lifetimes {
    type Output = Self;

    /// Wraps, as the sums of [`Counts`] do.
    fn add(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }
}

impl AddAssign for Lifetimes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Lifetimes {
    type Output = Self;

    /// Wraps, as the differences of [`Counts`] do.
    fn sub(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_sub)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::counts;

    use super::*;

    #[test]
    fn the_mean_age_is_that_of_the_live_blocks() {
        // Born in 10, 10, 30, 50; freed: one of 10 and the one of 30.
        let lifetimes = Lifetimes { allocated_births: 100, freed_births: 40, ..Lifetimes::ZERO };
        let live = counts(4, 400, 2, 200);
        assert_eq!(lifetimes.mean_age(live, TickNumber::new(50)), Some(Duration::from_secs(5)));
        assert_eq!(lifetimes.mean_age(live, TickNumber::new(54)), Some(Duration::from_secs(6)));
        assert_eq!(lifetimes.mean_age(counts(4, 400, 4, 400), TickNumber::new(50)), None);
    }

    #[test]
    fn a_million_blocks_of_half_a_year_do_not_overflow() {
        let now = TickNumber::LAST;
        let live = counts(1_000_000, 1_000_000, 0, 0);
        let age = Lifetimes::ZERO.mean_age(live, now).unwrap();
        assert_eq!(age, TickNumber::LENGTH * u32::try_from(now.number()).unwrap());
    }

    #[test]
    fn a_read_under_load_that_is_ahead_of_itself_is_no_age_below_zero() {
        // The births of a block were read, the block itself was not.
        let lifetimes = Lifetimes { allocated_births: 300, ..Lifetimes::ZERO };
        assert_eq!(lifetimes.mean_age(counts(2, 20, 0, 0), TickNumber::new(100)), Some(Duration::ZERO));
    }

    #[test]
    fn sums_and_differences_are_taken_field_by_field() {
        let one = Lifetimes { allocated_births: 5, freed_births: 4, temporaries: 3, freed_by_age: [1, 2, 3, 4, 5, 6] };
        let two = Lifetimes { allocated_births: 7, freed_births: 1, temporaries: 1, freed_by_age: [1; AGES] };
        let sum = Lifetimes { allocated_births: 12, freed_births: 5, temporaries: 4, freed_by_age: [2, 3, 4, 5, 6, 7] };
        assert_eq!((one + two, sum - two), (sum, one));
    }
}
