//! How the stacks of a snapshot's program were taken.
//!
//! Counted by each thread in the allocator, added up for a snapshot. They say where a capture's time goes, and whether
//! the fast engine is at work.

/// Captures since the process began, by kind. Each capture is one of: reused whole, joined, fresh, or by the
/// platform's unwinder for one of four reasons, or implausible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Captures {
    /// One of the thread's last stacks, found unchanged to the last word.
    pub reused: u64,
    /// Some frames were unwound, the rest was the previous stack's.
    pub joined: u64,
    /// Every frame was unwound.
    pub fresh: u64,
    /// Captures by the number of frames that were unwound, in the ranges of [`Captures::UNWOUND_RANGES`]. The
    /// allocator's own frame is one of them.
    pub by_unwound: [u64; Captures::UNWOUND_RANGES.len()],
    /// Captures, among those that were not reused whole, of a stack whose root was cut off at the limit of frames.
    pub truncated: u64,
    /// By the platform's unwinder: there is no fast engine for this system's C library.
    pub unavailable: u64,
    /// By the platform's unwinder: a frame whose caller cannot be told from the stack and frame pointer.
    pub complex_frame: u64,
    /// By the platform's unwinder: code that was registered with it at run time.
    pub registered_code: u64,
    /// By the platform's unwinder: a stack through a library after 65,535 others were loaded and unloaded.
    pub too_many_modules: u64,
    /// No stack: what its unwind tables say of it cannot be.
    pub implausible: u64,
    /// Captures that were compared with the platform's unwinder, as the configuration asked.
    pub verified: u64,
    /// Of these, how many differed: a bug in heaptally or in the unwind tables of the program.
    pub mismatched: u64,
}

impl Captures {
    /// The first and last number of frames of each range; the last range has no end.
    pub const UNWOUND_RANGES: [(u32, u32); 10] =
        [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, u32::MAX)];

    /// All captures by the platform's unwinder.
    pub fn fallbacks(&self) -> u64 {
        sum([self.unavailable, self.complex_frame, self.registered_code, self.too_many_modules])
    }

    /// All captures.
    pub fn total(&self) -> u64 {
        sum([self.reused, self.joined, self.fresh, self.fallbacks(), self.implausible])
    }
}

/// Of what may have been read from a file, which can claim anything.
fn sum<const N: usize>(captures: [u64; N]) -> u64 {
    captures.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capture_is_of_one_kind() {
        let captures = Captures {
            reused: 1,
            joined: 2,
            fresh: 4,
            truncated: 3,
            unavailable: 8,
            complex_frame: 16,
            registered_code: 32,
            too_many_modules: 64,
            implausible: 128,
            verified: 5,
            ..Captures::default()
        };
        assert_eq!((captures.fallbacks(), captures.total()), (120, 255));
    }
}
