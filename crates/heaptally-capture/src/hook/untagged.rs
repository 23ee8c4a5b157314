//! What is counted of blocks for whose tags there is no memory.
//!
//! Called by the hook, on any thread; allocates nothing. Their stacks and births are not known: they have one row, on the
//! shared lines.

use super::shared::{count_shared, tell_shared};
use super::{Block, Thread};
use crate::counter::Line;
use crate::process::PROCESS;
use crate::site_line::SiteLine;
use crate::stack_id::StackId;
use crate::tag::Slot;
use crate::thread_state::{Busy, ThreadState};

/// Counts one, whatever the mode: at its free nothing tells when it was made.
#[cold]
pub(super) fn count_allocated(thread: Thread, block: Block, sp: usize) {
    let Block { address, size } = block;
    let count_own = |state: &ThreadState, busy: &Busy<'_>, line: &SiteLine| {
        state.tracked.count_allocated(size);
        line.line.add_allocated(size);
        if !state.head.is_off() {
            state.note_allocated(busy, address);
        }
    };
    count(thread, sp, size as i64, count_own, |line| line.add_allocated(size));
    // Not before the row: a free that takes them is counted there.
    Slot::add_untagged_bytes(size);
}

/// Counts the free of one.
#[cold]
pub(super) fn count_freed(thread: Thread, block: Block, sp: usize) {
    let Block { address, size } = block;
    let count_own = |state: &ThreadState, busy: &Busy<'_>, line: &SiteLine| {
        state.tracked.count_freed(size);
        line.line.add_freed(size);
        if state.take_temporary(busy, address) {
            line.add_temporary();
        }
    };
    count(thread, sp, -(size as i64), count_own, |line| line.add_freed(size));
}

/// Counts in the thread's own totals, or in the shared ones, and on the shared line.
fn count(
    thread: Thread,
    sp: usize,
    change_bytes: i64,
    count_own: impl Fn(&ThreadState, &Busy<'_>, &SiteLine),
    add: impl Fn(&Line),
) {
    // When they were born is not known.
    let Some(line) = PROCESS.shared.line(StackId::UNTAGGED) else { return };
    if let Thread::Own(state) = thread
        && let Some(busy) = state.enter(sp)
    {
        count_own(state, &busy, line);
        if state.is_to_tell(&busy, change_bytes.unsigned_abs() as usize) {
            state.tell(&busy);
        }
        return;
    }
    count_shared(|| {
        add(&PROCESS.shared_totals);
        add(&line.line);
    });
    tell_shared(StackId::UNTAGGED, change_bytes);
}
