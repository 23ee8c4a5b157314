//! Inner parts of stacks that a thread captured lately, so that a program that goes back and forth between a few places
//! unwinds none of them again.
//!
//! Owned by the trace of a thread and used in the hook by its owner while busy: plain memory. A segment is what a
//! capture unwound before it joined the trace. When the hook is entered at the same place again, and neither the words
//! that the segment was derived from have changed nor the frame that it joined nor the words further out, the stack is
//! the same: the theorem of `docs/capture.md` for a trace whose inner part is the segment and whose outer part is the
//! trace's.
//!
//! ```text
//!  trace     [ start │ main │ serve │ parse │ … ]
//!                                ▲ joins here, if its sp, its stack and its live fp are those of then
//!  segment                       └─ [ read │ fill │ the hook's own ]   + its words, + what to charge
//! ```
//!
//! A place where the hook was entered may be in one of two slots; the segment met last stays.

use super::rule::FrameState;
use super::stack_words::StackWords;
use crate::charge::Charge;
use crate::stack_hash::StackHash;

const SEGMENT_BITS: u32 = 6;
const SEGMENTS: usize = 1 << SEGMENT_BITS;
/// Words of a segment, in whole blocks.
pub(crate) const SEGMENT_WORDS: usize = 24;

/// See the module's head. Zeroed memory is no segment: no thread's epoch is 0.
#[repr(C)]
pub(crate) struct Segment {
    /// Of the trace that it was part of.
    pub(crate) epoch: u64,
    /// The hook's own frame.
    pub(crate) pc: u64,
    pub(crate) sp: u64,
    pub(crate) fp: u64,
    /// All ones where fp is live, zero elsewhere.
    pub(crate) fp_mask: u64,
    /// The return address out of the hook's frame.
    pub(crate) return_address: u64,
    /// The frame of the trace that it joined: its number, and what it was.
    pub(crate) join: usize,
    pub(crate) join_sp: u64,
    pub(crate) join_fp: u64,
    pub(crate) join_exact: bool,
    pub(crate) join_hash: StackHash,
    /// Words of the segment, in whole blocks.
    pub(crate) len_words: usize,
    pub(crate) charge: Charge,
    pub(crate) words: StackWords<SEGMENT_WORDS>,
}

impl Segment {
    /// Whether it begins where the hook was entered.
    #[inline]
    pub(crate) fn begins_at(&self, epoch: u64, leaf: FrameState, return_address: u64) -> bool {
        (self.epoch ^ epoch)
            | (self.pc ^ leaf.pc)
            | (self.sp ^ leaf.sp)
            | ((self.fp ^ leaf.fp) & self.fp_mask)
            | (self.return_address ^ return_address)
            == 0
    }
}

/// Which segment may begin at a place; the other that may has the next number.
#[inline]
pub(crate) fn slot_of(return_address: u64, sp: u64) -> usize {
    ((return_address ^ sp << 24).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - SEGMENT_BITS)) as usize & !1
}

/// All segments of a thread.
pub(crate) type Segments = [Segment; SEGMENTS];
