//! Faults that are planted on purpose, each into a mechanism that a gate is there to guard: the gate has to fail then, or it
//! proves nothing. Only with `--cfg heaptally_faults`, by `tests/gates.sh`; without it [`is_planted`] is false, and nothing is
//! compiled of it.
//!
//! Asked in the hook, on any thread. Allocates nothing: `getenv` looks through what the process was started with.

/// One of them, named by `HEAPTALLY_FAULT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An allocation is in the totals and in no row.
    RowLost,
    /// An allocation is in its row and not in the totals.
    TotalLost,
    /// Every free is charged to the stack whose number is one less.
    FreeElsewhere,
    /// Words of the stack are taken for what they were (C2 of `docs/capture.md`).
    WordsNotCompared,
    /// A frame is taken for one of another frame pointer (C1).
    FramePointerNotCompared,
    /// The modules behind a trace are taken for what they were (C3).
    ModulesNotCompared,
    /// The rule of a caller is that of where the call returns to.
    CallerAtReturnAddress,
    /// A tag is believed without its check.
    CheckNotLookedAt,
    /// A tag of a large block is that of every size.
    SizeNotSealed,
    /// A tag outlives its block.
    TagNotCleared,
}

/// Whether the process has this fault.
#[cfg(not(heaptally_faults))]
#[inline(always)]
pub(crate) const fn is_planted(_fault: Fault) -> bool {
    false
}

/// Whether the process has this fault.
#[cfg(heaptally_faults)]
pub(crate) fn is_planted(fault: Fault) -> bool {
    use core::ffi::CStr;

    use crate::sync::{AtomicU8, Ordering};

    const UNKNOWN: u8 = u8::MAX;
    const NONE: u8 = u8::MAX - 1;
    const NAMES: [(&CStr, Fault); 10] = [
        (c"row-lost", Fault::RowLost),
        (c"total-lost", Fault::TotalLost),
        (c"free-elsewhere", Fault::FreeElsewhere),
        (c"words-not-compared", Fault::WordsNotCompared),
        (c"frame-pointer-not-compared", Fault::FramePointerNotCompared),
        (c"modules-not-compared", Fault::ModulesNotCompared),
        (c"caller-at-return-address", Fault::CallerAtReturnAddress),
        (c"check-not-looked-at", Fault::CheckNotLookedAt),
        (c"size-not-sealed", Fault::SizeNotSealed),
        (c"tag-not-cleared", Fault::TagNotCleared),
    ];
    /// Which one.
    static PLANTED: AtomicU8 = AtomicU8::new(UNKNOWN);

    // Relaxed: a number on its own, which all threads find alike.
    let mut planted = PLANTED.load(Ordering::Relaxed);
    if planted == UNKNOWN {
        // SAFETY: a string that ends. Nobody who is asked here changes the environment meanwhile.
        let named = unsafe { libc::getenv(c"HEAPTALLY_FAULT".as_ptr()) };
        // SAFETY: not null, and a string that ends.
        let named = (!named.is_null()).then(|| unsafe { CStr::from_ptr(named) });
        let found = NAMES.iter().find(|(name, _)| Some(*name) == named);
        planted = found.map_or(NONE, |&(_, fault)| fault as u8);
        PLANTED.store(planted, Ordering::Relaxed);
    }
    planted == fault as u8
}
