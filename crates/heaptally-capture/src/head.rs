//! The part of a thread's state that an operation touches while tracking is off: totals, and whether it may stop at
//! them.
//!
//! Read by the owner in every operation of the allocator; written by it, but for the gate, which `start` opens from
//! another thread. A thread without a state has a placeholder instead, so that the hook needs no test for that.

use crate::counter::Line;
use crate::mode::Mode;
use crate::stack_id::StackId;
use crate::sync::{AtomicU8, AtomicU64, Ordering};
use crate::tag;

/// The owner may take the short path.
const CLOSED: u8 = 0;
/// The owner must take the long path.
const OPEN: u8 = 1;
/// The head is that of a thread's own state, which has seen tracking on and counts for the program.
const TRACKED: u8 = 2;
/// The same, of one that has seen tracking paused.
const PAUSED: u8 = 3;

/// See the module's head. Zeroed memory is a head whose gate is closed and whose key fits nothing.
#[repr(C)]
pub struct Head {
    /// What the state's owners have allocated and freed while tracking was off, and nothing else: the state's part of
    /// the row "before start", too.
    pub before_start: Line,
    /// The key of tags while the owner may take the short path; another number otherwise, so that no tag fits.
    off_key: AtomicU64,
    /// CLOSED while the owner may take the short path, TRACKED or PAUSED when it may take those of such allocations.
    gate: AtomicU8,
}

impl Head {
    /// What the thread-local pointer of a thread without a state points to: off the short path, and nothing else is
    /// looked at.
    pub const fn placeholder() -> Self {
        Self { before_start: Line::new(), off_key: AtomicU64::new(1), gate: AtomicU8::new(OPEN) }
    }

    /// Whether the owner may count in `totals` alone: tracking was never on, as far as this thread is concerned.
    #[inline(always)]
    pub fn is_off(&self) -> bool {
        // PERF: the compiler does not fold an atomic load into a comparison; the block does, for one instruction
        // less.
        // Relaxed: who reads CLOSED late counts a few more blocks as allocated before the start, which is what they
        // were.
        #[cfg(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm))))]
        // SAFETY: reads one live byte.
        unsafe {
            core::arch::asm!(
                "cmp byte ptr [{head} + {gate}], {closed}",
                "jne {open}",
                head = in(reg) core::ptr::from_ref(self),
                gate = const core::mem::offset_of!(Self, gate),
                closed = const CLOSED,
                open = label { return false },
                options(nostack, readonly),
            );
            true
        }
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm)))))]
        {
            self.gate.load(Ordering::Relaxed) == CLOSED
        }
    }

    /// Whether the head begins a thread's own state, and nothing but a look at `busy` and the mode stands between an
    /// allocation and its capture.
    #[inline(always)]
    pub fn is_tracked(&self) -> bool {
        // Relaxed: the owner's own word, but for `start`, which sends it on the long path once more than needed.
        self.gate.load(Ordering::Relaxed) == TRACKED
    }

    /// Whether the head begins a thread's own state, and nothing but a look at `busy` and the mode stands between an
    /// allocation and the row "paused".
    #[inline]
    pub fn is_paused(&self) -> bool {
        // Relaxed: as in `is_tracked`.
        self.gate.load(Ordering::Relaxed) == PAUSED
    }

    /// Whether it is one of these.
    #[inline(always)]
    pub fn is_marked(&self) -> bool {
        // Relaxed: as in `is_tracked`.
        self.gate.load(Ordering::Relaxed) >= TRACKED
    }

    /// Lets the owner take the path of allocations in `mode`; false, and nothing changed, if it may already, or has none.
    pub(crate) fn mark(&self, mode: Mode) -> bool {
        let mark = match mode {
            Mode::Off => return false,
            Mode::On => TRACKED,
            Mode::Paused => PAUSED,
        };
        if self.gate.load(Ordering::Relaxed) == mark {
            return false;
        }
        // The owner may have learnt of tracking from a block's tag, before `start` came by to open the gate.
        self.open_gate();
        self.gate.store(mark, Ordering::Relaxed);
        true
    }

    /// What the tag of a block at `place` that was allocated on the short path is, as long as the owner may take it;
    /// afterwards what no tag is. One test for both.
    #[inline(always)]
    pub(crate) fn off_tag(&self, place: u64) -> u64 {
        // PERF: as in `is_off`, one instruction less. The same arithmetic as `tag::seal`, for the id 0 and the tick 0.
        // Relaxed: as in `is_off`.
        const { assert!(StackId::BEFORE_START.index() == 0) };
        #[cfg(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm))))]
        {
            let mut keyed = place;
            // SAFETY: reads one live, aligned word.
            unsafe {
                core::arch::asm!(
                    "add {keyed}, qword ptr [{head} + {key}]",
                    keyed = inout(reg) keyed,
                    head = in(reg) core::ptr::from_ref(self),
                    key = const core::mem::offset_of!(Self, off_key),
                    options(nostack, readonly),
                );
            }
            keyed.wrapping_mul(tag::SPREAD).rotate_left(tag::CHECK_BITS)
        }
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm)))))]
        {
            tag::seal(place, self.off_key.load(Ordering::Relaxed))
        }
    }

    /// Lets a new owner take the short path, until [`Head::open_gate`].
    pub(crate) fn close_gate(&self) {
        self.off_key.store(tag::key(), Ordering::Relaxed);
        self.gate.store(CLOSED, Ordering::Relaxed);
    }

    /// Sends the owner on the long path from now on.
    pub(crate) fn open_gate(&self) {
        self.off_key.store(!tag::key(), Ordering::Relaxed);
        self.gate.store(OPEN, Ordering::Relaxed);
    }
}
