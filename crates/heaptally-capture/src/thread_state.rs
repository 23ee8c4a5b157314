//! Everything one thread counts with and captures into.
//!
//! A state lives in the arena for ever and has one owner at a time: a thread, or nobody while it waits on the free
//! list. Its counters are sums over all its owners, so a new owner goes on counting where the last one stopped, and notes
//! where that was ([`Owner`]). Only the owner calls the methods that write; snapshots read the lines of all states, owned or
//! not.
//!
//! ```text
//!             acquire                  release (pthread key)
//!   fresh ──────────────► Owned ◄───────────────────────────► Offered
//!                           │
//!                           └─► Retired   (owner vanished in the middle of an operation: read, never owned again)
//! ```

use core::cell::UnsafeCell;

use crate::arena::Zeroed;
use crate::capture::Capturer;
use crate::capture_counts::CaptureCounts;
use crate::counter::Line;
use crate::head::Head;
use crate::mode::ModeCell;
use crate::owner::Owner;
use crate::peak::UntoldBytes;
use crate::private_lines::PrivateLines;
use crate::process::PROCESS;
use crate::ring::Ring;
use crate::stack_cache::StackCache;
use crate::sync::{AtomicU8, AtomicU32, AtomicUsize, Ordering, fence};

/// Who owns a state; see the module's head.
pub(crate) mod ownership {
    /// Free to take, or about to be taken.
    pub(crate) const OFFERED: u8 = 0;
    /// A thread's.
    pub(crate) const OWNED: u8 = 1;
    /// Nobody's, for ever.
    pub(crate) const RETIRED: u8 = 2;
}

/// See the module's head. Zeroed memory is a fresh state.
#[repr(C, align(128))]
pub struct ThreadState {
    /// First: the thread-local pointer points to it.
    pub head: Head,
    /// What its owners have allocated and freed since, stored before the per-stack line. With `head.before_start`, the
    /// totals.
    pub tracked: Line,
    /// Stack pointer of the operation in progress; 0 when there is none.
    busy: AtomicUsize,
    /// How far its part of the peak is behind.
    untold: UntoldBytes,
    /// Address of the owner's last tracked allocation, until it is freed.
    last_allocated: AtomicUsize,
    /// How many guards of our own make this thread's allocations heaptally's.
    internal: AtomicU32,
    /// Its number in the registry.
    pub(crate) index: AtomicU32,
    pub(crate) ownership: AtomicU8,
    pub(crate) ring: Ring,
    pub(crate) private: PrivateLines,
    pub(crate) captures: CaptureCounts,
    scratch: UnsafeCell<Scratch>,
    /// Whose it is, for snapshots; `ownership` is what passing it on goes by. Last: what the hook uses lies before it.
    pub(crate) owner: Owner,
}

/// What only the owner touches, and only while it holds [`Busy`].
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) capturer: Capturer,
    pub(crate) cache: StackCache,
}

// SAFETY: all fields but `scratch` are atomics; `scratch` is reached through `Busy` alone, of which the owner has at
// most one at a time.
unsafe impl Sync for ThreadState {}
// SAFETY: zero is a fresh state: nothing counted, nobody's, no ring, an empty cache, an empty trace.
unsafe impl Zeroed for ThreadState {}

impl ThreadState {
    /// Begins an operation, or `None` when one is in progress: then this is a signal handler that interrupted it, and
    /// the caller counts on the shared lines.
    ///
    /// `stack_pointer` is an address in the caller's stack frame.
    #[inline(always)]
    pub(crate) fn enter(&self, stack_pointer: usize) -> Option<Busy<'_>> {
        // Relaxed: only this thread and its signal handlers write it. A handler comes between the load and the store
        // at worst, and has left again before the store.
        if self.busy.load(Ordering::Relaxed) != 0 {
            return None;
        }
        self.busy.store(stack_pointer, Ordering::Relaxed);
        // What follows must not move above the store, for a handler's eyes: this thread's own, so a compiler fence
        // will do.
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
        Some(Busy(self))
    }

    /// Notes that the owner has just allocated the block at `address`.
    #[inline(always)]
    pub(crate) fn note_allocated(&self, _busy: &Busy<'_>, address: *mut u8) {
        self.last_allocated.store(address.addr(), Ordering::Relaxed);
    }

    /// Whether the owner, who frees the block at `address`, has allocated nothing since it allocated that one.
    #[inline(always)]
    pub(crate) fn take_temporary(&self, _busy: &Busy<'_>, address: *mut u8) -> bool {
        let is_last = self.last_allocated.load(Ordering::Relaxed) == address.addr();
        if is_last {
            self.last_allocated.store(0, Ordering::Relaxed);
        }
        is_last
    }

    /// Notes that a block of the program's was counted in `tracked`. True when [`ThreadState::tell`] is due.
    #[inline(always)]
    pub(crate) fn is_to_tell(&self, _busy: &Busy<'_>, size: usize) -> bool {
        self.untold.pass(size)
    }

    /// Tells how many bytes of the program's are live, if that has changed by much.
    #[cold]
    pub(crate) fn tell(&self, _busy: &Busy<'_>) {
        let [[_, allocated], [_, freed]] = [self.tracked.allocated(), self.tracked.freed()];
        self.untold.look(allocated.wrapping_sub(freed).cast_signed(), &PROCESS.peak, &PROCESS.doorbell);
    }

    /// Leaves bytes that were counted in `tracked`, or below zero taken away there, out of what is told.
    pub(crate) fn keep_from_telling(&self, _busy: &Busy<'_>, change_bytes: i64) {
        self.untold.settle(change_bytes);
    }

    /// Whether an operation is in progress.
    pub fn is_busy(&self) -> bool {
        self.busy_stack_pointer() != 0
    }

    /// Takes up an operation that was handed over.
    ///
    /// # Safety
    ///
    /// The caller is the owner, and the last [`Busy`] was given to [`Busy::hand_over`].
    #[inline(always)]
    pub(crate) unsafe fn resume(&self) -> Busy<'_> {
        Busy(self)
    }

    /// The stack pointer of the operation in progress, 0 for none.
    #[inline(always)]
    pub(crate) fn busy_stack_pointer(&self) -> usize {
        // Acquire: pairs with the Release in `Busy::drop`.
        self.busy.load(Ordering::Acquire)
    }

    /// Notes, in a forked child, that the operation of an owner that is gone will not go on.
    pub(crate) fn end_operation(&self) {
        self.busy.store(0, Ordering::Release);
    }

    /// Whether the thread's allocations are heaptally's own.
    #[inline]
    pub(crate) fn is_internal(&self) -> bool {
        self.internal.load(Ordering::Relaxed) != 0
    }

    /// Makes the thread's allocations heaptally's own until the same number of calls of
    /// [`ThreadState::leave_internal`].
    pub fn enter_internal(&self) {
        self.internal.store(self.internal.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if self.head.is_marked() {
            self.head.open_gate();
        }
    }

    /// Takes one [`ThreadState::enter_internal`] back.
    pub fn leave_internal(&self) {
        // Release: pairs with the Acquire in `is_at_work`.
        self.internal.store(self.internal.load(Ordering::Relaxed).saturating_sub(1), Ordering::Release);
    }

    /// Whether an operation of heaptally's own may be between totals and row. Asked by another thread, which has read the
    /// totals: if not, each operation of heaptally's own in them is in its row, to be read from here on.
    pub(crate) fn is_at_work(&self) -> bool {
        // Acquire: pairs with the Release in `leave_internal` and `reset_for_new_owner`; who sees that the thread has left
        // sees the rows of what it did. If it has not, `busy` says the same of its last operation.
        self.internal.load(Ordering::Acquire) != 0 && self.is_busy()
    }

    /// What a new owner must not inherit.
    pub(crate) fn reset_for_new_owner(&self) {
        self.busy.store(0, Ordering::Relaxed);
        // Release: as in `leave_internal`.
        self.internal.store(0, Ordering::Release);
        self.last_allocated.store(0, Ordering::Relaxed);
        self.owner.set_base(self.counted());
        // SAFETY: nobody else has the state: its last owner is gone, and the free list, or its creation, orders what
        // that one did before this.
        unsafe { &mut *self.scratch.get() }.capturer.reset();
    }

    /// Lets the owner, who counts for the program, take the path of tracked or paused allocations from its next operation
    /// on.
    pub(crate) fn take_path(&self, _busy: &Busy<'_>, mode: &ModeCell) {
        let seen = mode.get();
        if self.is_internal() || !self.head.mark(seen) {
            return;
        }
        // SeqCst: whoever pauses or resumes stores the mode, fences, and opens the gate. Either that comes after the mark,
        // or the mode is seen here.
        fence(Ordering::SeqCst);
        if mode.get() != seen {
            self.head.open_gate();
        }
    }

    /// What all its owners have counted: `[allocated blocks, allocated bytes, freed blocks, freed bytes]`. Freed is read
    /// first, so that who frees what it allocated has allocated it.
    #[inline]
    pub fn counted(&self) -> [u64; 4] {
        let [freed_blocks, freed_bytes] = self.totals(Line::freed);
        let [allocated_blocks, allocated_bytes] = self.totals(Line::allocated);
        [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes]
    }

    /// `[blocks, bytes]` of each line that makes the totals: "before start", and tracked.
    pub fn totals(&self, words: impl Fn(&Line) -> [u64; 2]) -> [u64; 2] {
        let [before, tracked] = [words(&self.head.before_start), words(&self.tracked)];
        [before[0] + tracked[0], before[1] + tracked[1]]
    }
}

/// The right to use the state's scratch memory: an operation is in progress. Ends when dropped.
pub(crate) struct Busy<'a>(&'a ThreadState);

impl Busy<'_> {
    /// The operation goes on elsewhere, which ends it with [`ThreadState::resume`].
    #[inline(always)]
    pub(crate) fn hand_over(self) {
        core::mem::forget(self);
    }

    #[inline(always)]
    pub(crate) fn scratch(&mut self) -> &mut Scratch {
        // SAFETY: one `Busy` exists at a time, and it is borrowed mutably.
        unsafe { &mut *self.0.scratch.get() }
    }
}

impl Drop for Busy<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: who sees that nothing is in progress sees the counts of what was.
        self.0.busy.store(0, Ordering::Release);
    }
}
