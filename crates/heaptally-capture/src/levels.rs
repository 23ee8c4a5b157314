//! Arrays of slots that make an insert-only hash table: the newest is the largest, and nothing ever moves.
//!
//! What the table of stacks and the table of rules have in common. Called in the hook by any thread; lock-free; the
//! arrays come from the arena. A full level is followed by one of four times the size; what is found on an older one is
//! copied to the newest by whoever finds it.
//!
//! # Synchronization
//!
//! A level's address is stored with Release after its zeros exist, and read with Acquire.

use core::ptr::NonNull;

use crate::arena::{Arena, Zeroed};
use crate::sync::{AtomicPtr, AtomicU32, Ordering};

/// Slots of the first level.
const FIRST_LEVEL_SLOTS: usize = if cfg!(heaptally_loom) { 1 } else { 4096 };

/// `N` levels of 4096, 16,384, 65,536 … slots.
pub(crate) struct Levels<T, const N: usize> {
    levels: [AtomicPtr<T>; N],
    newest: AtomicU32,
}

/// No slot of a level is free for a key.
pub(crate) struct Full;

impl<T: Zeroed + 'static, const N: usize> Levels<T, N> {
    /// Slots of all levels: 4096 · (1 + 4 + 16 + …).
    pub(crate) const SLOTS: usize = FIRST_LEVEL_SLOTS * ((1 << (2 * N)) - 1) / 3;

    /// No level has memory.
    pub(crate) const fn new() -> Self {
        Self { levels: [const { AtomicPtr::new(core::ptr::null_mut()) }; N], newest: AtomicU32::new(0) }
    }

    /// The number of the newest level; 0 also before there is any.
    #[inline]
    pub(crate) fn newest(&self) -> usize {
        // Relaxed: late, a lookup begins one level too early.
        self.newest.load(Ordering::Relaxed) as usize
    }

    /// The `step`-th slot that a key with this hash may be in; `None` while the level has no memory.
    #[inline]
    pub(crate) fn slot(&self, level: usize, hash: usize, step: usize) -> Option<&'static T> {
        // Acquire: pairs with the Release in `map`.
        let base = self.levels.get(level)?.load(Ordering::Acquire);
        if base.is_null() {
            return None;
        }
        let index = hash.wrapping_add(step) & (slots(level) - 1);
        // SAFETY: a level has that many slots, zeroed, in memory that lives for ever.
        Some(unsafe { &*base.add(index) })
    }

    /// Calls `insert` on one level after the other, from the newest on, each mapped if need be, until it does not find it
    /// full. `None` when memory is refused, or all levels are full.
    pub(crate) fn insert<R>(&self, arena: &Arena, insert: impl Fn(usize) -> Result<R, Full>) -> Option<R> {
        for level in self.newest()..N {
            self.map(level, arena)?;
            if let Ok(inserted) = insert(level) {
                return Some(inserted);
            }
        }
        None
    }

    fn map(&self, level: usize, arena: &Arena) -> Option<()> {
        let place = self.levels.get(level)?;
        if place.load(Ordering::Relaxed).is_null() {
            let fresh = arena.array::<T>(slots(level))?;
            let address = fresh.as_ptr().cast_mut();
            // Release: pairs with the Acquire in `slot`.
            if place.compare_exchange(core::ptr::null_mut(), address, Ordering::Release, Ordering::Relaxed).is_err() {
                // SAFETY: another thread was first; nobody has seen these zeros.
                unsafe { arena.give_back(NonNull::from(fresh)) };
            }
        }
        self.newest.fetch_max(level as u32, Ordering::Relaxed);
        Some(())
    }
}

const fn slots(level: usize) -> usize {
    FIRST_LEVEL_SLOTS << (2 * level)
}
