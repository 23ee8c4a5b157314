//! Checks that `start` makes before it starts anything.

use std::hint::black_box;

use heaptally_capture::{PROCESS, self_test};

use super::thread_counts;

/// Whether the program's allocations reach a `TallyAlloc`, found by effect, so that one inside another allocator
/// counts.
pub(crate) fn is_installed() -> bool {
    let before = thread_counts();
    drop(black_box(Box::new(black_box(0_u64))));
    let counts = thread_counts() - before;
    // A thread without counters of its own has counted for all.
    counts.allocated_blocks >= 1 && counts.freed_blocks >= 1 || shared_blocks() >= 1
}

/// Blocks allocated by threads without counters of their own.
fn shared_blocks() -> u64 {
    PROCESS.shared_totals.allocated_blocks.get()
}

/// Whether a capture names the function that asked for it. The first capture of the process, it also warms up the
/// unwinder: what that allocates or locks the first time happens here, under no lock of ours.
pub(crate) fn capture_works() -> bool {
    black_box(probe as fn() -> bool)()
}

#[inline(never)]
fn probe() -> bool {
    // Something after the call, so that this frame is on the stack during it.
    black_box(self_test((probe as fn() -> bool as *const ()).addr()))
}
