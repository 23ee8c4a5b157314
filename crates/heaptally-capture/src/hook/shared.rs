//! Counting by those who have no line of their own: threads without a state, signal handlers that have interrupted the
//! hook, threads that end.
//!
//! Called in the hook, on any thread. Atomic additions on the shared lines, the totals first.

use super::{Block, birth_of};
use crate::losses::Losses;
use crate::mode::Mode;
use crate::process::PROCESS;
use crate::site_line::SiteLine;
use crate::stack_id::StackId;
use crate::sync::{AtomicU64, Ordering};
use crate::tick::Tick;

#[cold]
pub(super) fn allocated_shared(id: StackId, mode: Mode, size: usize, loss: Option<&AtomicU64>) -> (StackId, Tick) {
    let id = match mode {
        Mode::Off => StackId::BEFORE_START,
        Mode::Paused => StackId::PAUSED,
        Mode::On => {
            loss.into_iter().for_each(Losses::count);
            id
        }
    };
    let birth = birth_of(id);
    if let Some(line) = PROCESS.shared.line(id) {
        count_shared(|| {
            PROCESS.shared_totals.add_allocated(size);
            line.add_allocated(size, birth);
        });
    }
    tell_shared(id, size as i64);
    (id, birth)
}

/// Tells a change that was counted in the shared totals, of a block of `id`.
pub(super) fn tell_shared(id: StackId, change_bytes: i64) {
    if id != StackId::INTERNAL {
        PROCESS.peak.tell(change_bytes, &PROCESS.doorbell);
    }
}

#[cold]
pub(super) fn freed_shared(id: StackId, line: &SiteLine, size: usize, birth: Tick) {
    count_shared(|| {
        PROCESS.shared_totals.add_freed(size);
        line.add_freed(size, birth);
    });
    tell_shared(id, -(size as i64));
}

/// Marks the window between totals and line for a child that is forked inside it.
pub(super) fn count_shared(count: impl FnOnce()) {
    if !PROCESS.shared_in_flight.during(count) {
        // A handler has forked. The child may have taken the operation for one that was lost.
        PROCESS.correction_due.store(true, Ordering::Relaxed);
    }
}

#[cold]
pub(super) fn freed_unknown(block: Block) {
    PROCESS.losses.last_unknown_address.store(block.address.addr() as u64, Ordering::Relaxed);
    PROCESS.losses.last_unknown_size.store(block.size as u64, Ordering::Relaxed);
    if let Some(line) = PROCESS.shared.line(StackId::UNKNOWN_FREES) {
        line.line.add_freed(block.size);
    }
}
