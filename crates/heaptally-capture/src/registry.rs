//! All thread states, and their passing from a thread that ends to one that begins.
//!
//! A thread takes a state on its first allocation and offers it when it ends; both happen inside the allocator or a
//! pthread destructor, without lock. Snapshots walk the states by number.
//!
//! # Synchronization
//!
//! A state's address is stored with Release before its owner counts anything; a snapshot that has seen a free counted
//! (Acquire) and reads the registry *afterwards* therefore finds the state that allocated the block.

use crate::arena::{Arena, Zeroed};
use crate::free_list::FreeList;
use crate::lazy_table::LazyTable;
use crate::mode::{Mode, ModeCell};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use crate::thread_state::{ThreadState, ownership};

const BLOCKS: usize = 64;
const PER_BLOCK: usize = 1024;

// SAFETY: null is "no state of that number yet".
unsafe impl Zeroed for AtomicPtr<ThreadState> {}

/// See the module's head.
pub struct Registry {
    addresses: LazyTable<AtomicPtr<ThreadState>, BLOCKS, PER_BLOCK>,
    count: AtomicU32,
    free: FreeList<BLOCKS, PER_BLOCK>,
    threads_without_state: AtomicU64,
}

impl Registry {
    /// Thread states at most; threads beyond it count on the shared lines.
    pub const LIMIT: usize = BLOCKS * PER_BLOCK;

    /// No states.
    pub(crate) const fn new() -> Self {
        Self {
            addresses: LazyTable::new(),
            count: AtomicU32::new(0),
            free: FreeList::new(),
            threads_without_state: AtomicU64::new(0),
        }
    }

    /// States in existence: the most threads that have lived at once.
    pub fn states(&self) -> usize {
        self.count.load(Ordering::Acquire) as usize
    }

    /// Threads that had to do without a state of their own, at first at least.
    pub fn threads_without_state(&self) -> u64 {
        self.threads_without_state.load(Ordering::Relaxed)
    }

    /// A state for the calling thread; `None` when there are too many, or no memory. It is the thread's once that knows
    /// it, and calls [`Registry::own`].
    ///
    /// If `mode` is not Off any more, its gate is open. Either `start` finds the state, which was published before
    /// the mode is read here, or the mode, which was stored before `start` walks the states, is found here: both
    /// orders are SeqCst.
    pub fn acquire(&self, arena: &Arena, mode: &ModeCell) -> Option<&'static ThreadState> {
        let state = self.reuse().or_else(|| self.create(arena));
        if let Some(state) = state {
            state.reset_for_new_owner();
            state.head.close_gate();
            fence(Ordering::SeqCst);
            if mode.get() != Mode::Off {
                state.head.open_gate();
            }
        }
        state
    }

    /// Notes that a thread goes without a state, which may get one later.
    pub fn count_thread_without_state(&self) {
        self.threads_without_state.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the calling thread knows the state as its own. Not before: a child that a signal handler forks in
    /// between would take the state for one whose owner is gone, and offer it. Makes one system call.
    pub fn own(&self, state: &ThreadState) {
        state.owner.begin();
        state.ownership.store(ownership::OWNED, Ordering::Relaxed);
    }

    /// Sends all threads on the long path, where they read the mode. Called by `start`, `pause` and `resume`, after the
    /// mode was set.
    pub fn open_gates(&self) {
        fence(Ordering::SeqCst);
        self.iter().for_each(|state| state.head.open_gate());
    }

    /// Offers the state of a thread that ends. The thread must not use it again.
    pub fn release(&self, state: &ThreadState, arena: &Arena) {
        // Once: a fork may have come between this and the thread's end, in which case the child has released it
        // already.
        if state.ownership.swap(ownership::OFFERED, Ordering::Relaxed) != ownership::OWNED {
            return;
        }
        // Not after the push: the next owner's term begins after this one's end.
        state.owner.end();
        if !self.free.push(state.index.load(Ordering::Relaxed), arena) {
            self.retire(state);
        }
    }

    /// Takes a state out of circulation whose owner vanished in the middle of an operation; its counts stay.
    pub fn retire(&self, state: &ThreadState) {
        // Nobody will end it. The losses say that an operation may be in the totals and not in its row.
        state.end_operation();
        state.owner.end();
        state.ownership.store(ownership::RETIRED, Ordering::Relaxed);
    }

    /// Every state, in the order of creation.
    pub fn iter(&self) -> impl Iterator<Item = &'static ThreadState> + '_ {
        (0..self.states()).filter_map(|index| {
            // Acquire: pairs with the Release in `create`.
            let state = self.addresses.get(index)?.load(Ordering::Acquire);
            // SAFETY: null, or a state from the arena, which lives for ever.
            unsafe { state.as_ref() }
        })
    }

    fn reuse(&self) -> Option<&'static ThreadState> {
        let index = self.free.pop()?;
        let state = self.addresses.get(index as usize)?.load(Ordering::Acquire);
        // SAFETY: as in `iter`.
        unsafe { state.as_ref() }
    }

    fn create(&self, arena: &Arena) -> Option<&'static ThreadState> {
        let mut index = self.count.load(Ordering::Relaxed);
        // Memory first, for the state and for its address: no number is taken in vain.
        self.addresses.get_or_map(index as usize, arena)?;
        let state = arena.one::<ThreadState>()?;
        let slot = loop {
            let slot = self.addresses.get_or_map(index as usize, arena)?;
            // Check, then compare-and-swap: refused attempts cannot wrap the count.
            match self.count.compare_exchange_weak(index, index + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break slot,
                Err(seen) => index = seen,
            }
        };
        state.index.store(index, Ordering::Relaxed);
        // Release: pairs with the Acquire in `iter`.
        slot.store(core::ptr::from_ref(state).cast_mut(), Ordering::Release);
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr;

    #[test]
    fn a_state_whose_owner_does_not_know_it_yet_is_not_offered() {
        let (registry, arena, mode) = (Registry::new(), Arena::new(), ModeCell::new());
        let first = registry.acquire(&arena, &mode).unwrap();
        registry.release(first, &arena);
        let second = registry.acquire(&arena, &mode).unwrap();
        assert!(!ptr::eq(first, second));
        registry.own(second);
        registry.release(second, &arena);
        assert!(ptr::eq(registry.acquire(&arena, &mode).unwrap(), second));
    }
    #[test]
    fn a_state_is_its_owners_until_it_is_offered_and_the_next_begins_where_it_stood() {
        let (registry, arena, mode) = (Registry::new(), Arena::new(), ModeCell::new());
        let state = registry.acquire(&arena, &mode).unwrap();
        assert_eq!(state.owner.now().thread_id(), 0, "nobody's, while its owner does not know it");
        registry.own(state);
        let first = state.owner.now();
        assert_eq!((first.thread_id(), state.owner.base()), (crate::sys::thread_id(), [0; 4]));
        state.head.before_start.count_allocated(100);
        state.tracked.count_allocated(20);
        state.tracked.count_freed(100);
        registry.release(state, &arena);
        assert_eq!(state.owner.now().thread_id(), 0);
        assert!(ptr::eq(registry.acquire(&arena, &mode).unwrap(), state));
        registry.own(state);
        assert_eq!((state.owner.base(), state.counted()), ([2, 120, 1, 100], [2, 120, 1, 100]));
        assert!(state.owner.now() != first);
        registry.retire(state);
        assert_eq!(state.owner.now().thread_id(), 0);
    }
}
