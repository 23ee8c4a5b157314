//! The time of blocks: a number that the aggregator advances every quarter of a second.
//!
//! Read in the hook, on any thread, which reads no clock: 7 ns for the processor's counter, 4 for the kernel's coarse
//! clock, against one load of a line that hardly ever changes. Written by the aggregator alone.
//!
//! A tick that wrapped would make sums of births wrong: it stops at its last number, after 194 days.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering};

/// Quarters of a second since `start`; 0 before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// Bits that a tick takes in a tag.
    pub const BITS: u32 = 26;
    /// How long one lasts.
    pub const MILLISECONDS: u64 = 250;
    /// That of everything before `start`.
    pub const ZERO: Self = Self(0);
    /// Where it stops: ages of blocks that are born at it are unknown.
    pub const LAST: Self = Self((1 << Self::BITS) - 1);

    /// The `number`th, or the last.
    pub const fn new(number: u64) -> Self {
        if number < Self::LAST.0 { Self(number) } else { Self::LAST }
    }

    /// The one whose number is the lowest bits of a word.
    #[inline(always)]
    pub(crate) const fn from_low_bits(word: u64) -> Self {
        Self(word & Self::LAST.0)
    }

    /// Its number.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// The process's tick, on a cache line of its own.
pub struct TickCell(CachePadded<AtomicU64>);

impl TickCell {
    /// Before `start`.
    pub(crate) const fn new() -> Self {
        Self(CachePadded::new(AtomicU64::new(0)))
    }

    /// The tick now: not before that of any block which the calling thread has got from elsewhere, since whoever
    /// allocated it had read its tick.
    #[inline(always)]
    pub fn get(&self) -> Tick {
        // Relaxed: a number that orders nothing. Two reads, one of which happens before the other, are in order all the
        // same: the word is one, and it only grows.
        Tick(self.0.load(Ordering::Relaxed))
    }

    /// Advances to `tick`, unless it is there already. Called by one thread.
    pub fn advance(&self, tick: Tick) {
        if tick > self.get() {
            self.0.store(tick.number(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_grows_and_stops_at_its_last_number() {
        let cell = TickCell::new();
        cell.advance(Tick::new(5));
        cell.advance(Tick::new(3));
        assert_eq!(cell.get().number(), 5);
        cell.advance(Tick::new(u64::MAX));
        assert_eq!((cell.get(), cell.get().number()), (Tick::LAST, (1 << 26) - 1));
    }
}
