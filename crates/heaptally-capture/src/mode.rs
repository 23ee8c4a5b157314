//! What the hook does with an allocation, process-wide.
//!
//! ```text
//!         start                 pause
//!  Off ─────────────► On ◄──────────────► Paused
//!                         resume
//! ```
//!
//! There is no way back to Off. Threads learn of a change by the gate in their state, which `start`, `pause` and `resume` open.

use crate::sync::{AtomicU8, Ordering};

/// See the module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Totals and tags only.
    Off = 0,
    /// Every allocation is charged to its stack.
    On = 1,
    /// Allocations are charged to one row; frees are counted where they belong.
    Paused = 2,
}

/// The mode, as the hook's long path reads it: one byte that changes a few times in the life of the process.
pub struct ModeCell(AtomicU8);

impl ModeCell {
    /// Off.
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(Mode::Off as u8))
    }

    /// The mode now.
    #[inline]
    pub fn get(&self) -> Mode {
        // Acquire: pairs with the Release in `set`; who sees On sees the hash key and the budgets.
        match self.0.load(Ordering::Acquire) {
            0 => Mode::Off,
            1 => Mode::On,
            _ => Mode::Paused,
        }
    }

    /// Turns tracking on, pauses or resumes it. Setting it back to Off is a mistake of the caller and is ignored.
    pub fn set(&self, mode: Mode) {
        if mode != Mode::Off {
            // Release: pairs with the Acquire in `get`.
            self.0.store(mode as u8, Ordering::Release);
        }
    }
}
