//! How a thread's stacks were taken: by kind, and by how many frames had to be unwound.
//!
//! Written by the thread itself in the hook, one instruction a capture; read by snapshots on any thread, Acquire like
//! all counters, though nothing depends on it.

use crate::arena::Zeroed;
use crate::counter::Counter;
use crate::unwind::{Fallback, Outcome};

/// Ranges of unwound frames that are told apart: 0, 1, 2, 3, 4, 5 to 8, 9 to 16, 17 to 32, 33 to 64, more.
pub const UNWOUND_RANGES: usize = 10;

/// See the module's head. Zeroed memory has counted nothing.
#[derive(Default)]
pub struct CaptureCounts {
    /// Captures by frames unwound; the first are those that reused the last trace whole.
    pub by_unwound: [Counter; UNWOUND_RANGES],
    /// Captures that unwound every frame. Counted by frames, too.
    pub fresh: Counter,
    /// Captures that gave a stack whose root was cut off, and were not reused whole. Counted above, too.
    pub truncated: Counter,
    /// Captures by the platform's unwinder, by reason, in the order of heaptally's `Captures`.
    pub fallbacks: [Counter; Fallback::COUNT],
    /// Captures that gave no stack because what the rules say of it cannot be.
    pub implausible: Counter,
    /// Captures that were compared with the platform's unwinder.
    pub verified: Counter,
    /// Of these, how many differed.
    pub mismatched: Counter,
}

// SAFETY: counters; zero is "nothing counted".
unsafe impl Zeroed for CaptureCounts {}

impl CaptureCounts {
    /// Counts [`Outcome::Whole`].
    #[inline(always)]
    pub(crate) fn count_reused(&self) {
        self.by_unwound[0].bump();
    }

    #[inline(always)]
    pub(crate) fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Whole => self.count_reused(),
            Outcome::Joined { unwound } => self.by_unwound[range_of(unwound)].bump(),
            Outcome::Fresh { unwound } => {
                self.by_unwound[range_of(unwound)].bump();
                self.fresh.bump();
            }
            Outcome::Fallback(why) => self.fallbacks[why as usize].bump(),
            Outcome::Implausible => self.implausible.bump(),
        }
    }

    pub(crate) fn count_truncated(&self) {
        self.truncated.bump();
    }

    pub(crate) fn count_verified(&self, same: bool) {
        self.verified.bump();
        if !same {
            self.mismatched.bump();
        }
    }
}

/// Which of the ranges a number of frames, at least 1, lies in.
#[inline(always)]
fn range_of(unwound: usize) -> usize {
    if unwound <= 4 {
        return unwound;
    }
    let log = (unwound - 1).ilog2() as usize;
    // 5 to 8 have a logarithm of 2.
    if log + 3 < UNWOUND_RANGES { log + 3 } else { UNWOUND_RANGES - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_they_are_said_to() {
        let ends = [1, 2, 3, 4, 8, 16, 32, 64];
        for (range, end) in (1..).zip(ends) {
            assert_eq!((range_of(end), range_of(end + 1)), (range, range + 1), "{end}");
        }
        assert_eq!(range_of(513), 9);
    }
}
