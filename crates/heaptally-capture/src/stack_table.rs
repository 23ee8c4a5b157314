//! The process-wide table from a stack's hash to its id: insert-only and lock-free.
//!
//! Called in the hook by any thread whose own cache does not know the stack. A lookup is one probe of a dense array, one
//! cache line; an insertion is one compare-and-swap. Never allocates through the global allocator: the arrays come from
//! the arena.
//!
//! ```text
//!  newest ─► level k   [ hash a: 64 │ hash b: 40 │ id: 24 ] × 4^k × 4096     a hash of 104 bits
//!  older  ─► level k-1 [ ... ]                                              a hit here is copied to the newest level
//! ```
//!
//! The same stack may end up with two ids when two threads insert it at once. That costs an id, never a number: rows are
//! added up by the frames of the stack, not by id.
//!
//! # Synchronization
//!
//! Whoever inserts claims a slot (compare-and-swap of `a` from 0) and then stores the rest with Release; a lookup reads
//! it with Acquire. The caller publishes the stack's record in its ring before it calls [`StackTable::insert`], so every
//! id that anybody finds here has its record. A claim that is never kept, because its thread jumped away or the process
//! was forked, costs a slot.

use crate::arena::{Arena, Zeroed};
use crate::levels::{Full, Levels};
use crate::stack_hash::StackHash;
use crate::stack_id::StackId;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Slots looked at on one level before the next is tried.
const MAX_PROBES: usize = if cfg!(heaptally_loom) { 2 } else { 16 };
/// 4096 · 4^6 = 16.8 million slots: as many as there are ids.
const LEVELS: usize = 7;

#[derive(Default)]
struct Slot {
    /// The first lane of the hash; 0 in an empty slot.
    a: AtomicU64,
    /// The upper bits of the second lane, and the id; 0 while the slot is claimed.
    b_and_id: AtomicU64,
}

// SAFETY: two atomic words; zeros are an empty slot.
unsafe impl Zeroed for Slot {}
// SAFETY: a zero atomic word is valid, shared and needs no drop.
unsafe impl Zeroed for AtomicU64 {}

/// See the module's head.
pub struct StackTable {
    levels: Levels<Slot, LEVELS>,
    /// One past the highest id in use.
    issued: AtomicU32,
    /// Whole stacks get ids below this.
    full_limit: AtomicU32,
    /// Short ones get ids below this: never less than `full_limit`.
    limit: AtomicU32,
    /// Whether the store of the aggregator has no room for more whole stacks.
    store_is_full: AtomicBool,
}

/// How much of a stack is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it, as far as the depth limit goes.
    Full,
    /// A few frames at most, for which room is set aside.
    Short,
}

impl StackTable {
    /// An empty table that issues no ids until its limit is raised.
    pub(crate) const fn new() -> Self {
        Self {
            levels: Levels::new(),
            issued: AtomicU32::new(StackId::FIRST_REAL.index() as u32),
            full_limit: AtomicU32::new(StackId::FIRST_REAL.index() as u32),
            limit: AtomicU32::new(StackId::FIRST_REAL.index() as u32),
            store_is_full: AtomicBool::new(false),
        }
    }

    /// One past the highest id issued. Ids below it have their record in a ring or in the store, or were left unused.
    #[inline]
    pub fn issued(&self) -> u32 {
        // Acquire: pairs with the Release in `issue`.
        self.issued.load(Ordering::Acquire)
    }

    /// The ids that may be issued to whole stacks, pseudo-rows included.
    pub fn full_limit(&self) -> u32 {
        self.full_limit.load(Ordering::Relaxed)
    }

    /// The ids that may be issued, pseudo-rows included.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets how many ids may be issued to whole stacks, and how many more to short ones.
    pub fn set_limits(&self, full: u32, short: u32) {
        let full_limit = full.saturating_add(StackId::FIRST_REAL.index() as u32).min(StackId::LIMIT);
        self.full_limit.store(full_limit, Ordering::Relaxed);
        self.limit.store(full_limit.saturating_add(short).min(StackId::LIMIT), Ordering::Relaxed);
    }

    /// Issues no more ids to whole stacks: the store of the aggregator has no room for them.
    pub fn note_full_store(&self) {
        self.store_is_full.store(true, Ordering::Relaxed);
    }

    /// Whether another stack of this extent may get an id, as far as limits go.
    pub(crate) fn has_ids(&self, extent: Extent) -> bool {
        let is_open = extent == Extent::Short || !self.store_is_full.load(Ordering::Relaxed);
        is_open && self.issued.load(Ordering::Relaxed) < self.limit_of(extent)
    }

    fn limit_of(&self, extent: Extent) -> u32 {
        match extent {
            Extent::Full => self.full_limit(),
            Extent::Short => self.limit(),
        }
    }

    /// The id of a stack somebody has inserted.
    pub fn find(&self, hash: StackHash) -> Option<StackId> {
        let newest = self.levels.newest();
        for level in (0..=newest).rev() {
            if let Some(id) = self.probe(level, hash) {
                if level != newest {
                    // The slot of a hot stack moves up; a full newest level only means that it stays where it is.
                    let _ = self.insert_at(newest, hash, id);
                }
                return Some(id);
            }
        }
        None
    }

    /// A fresh id for `hash`, not yet findable; `None` when the limit is reached, or memory is refused, also for the slot
    /// that the id is to have: what cannot be found would be issued anew with every capture.
    ///
    /// `prepare` runs with the id before it is counted as issued; what it returns false for is not issued.
    pub(crate) fn issue(
        &self,
        hash: StackHash,
        extent: Extent,
        arena: &Arena,
        prepare: impl Fn(StackId) -> bool,
    ) -> Option<StackId> {
        self.make_room(hash, arena)?;
        loop {
            let index = self.issued.load(Ordering::Relaxed);
            // Check, then compare-and-swap: attempts that are refused cannot wrap the counter.
            if index >= self.limit_of(extent) {
                return None;
            }
            let id = StackId::new(index);
            if !prepare(id) {
                return None;
            }
            // Release: pairs with the Acquire in `issued`.
            if self.issued.compare_exchange(index, index + 1, Ordering::Release, Ordering::Relaxed).is_ok() {
                return Some(id);
            }
        }
    }

    /// Makes sure that a level has room for `hash`, unless another thread takes it first.
    fn make_room(&self, hash: StackHash, arena: &Arena) -> Option<()> {
        let is_free = |level, step| {
            let slot = self.levels.slot(level, place(hash), step);
            slot.is_some_and(|slot| slot.a.load(Ordering::Relaxed) == 0)
        };
        self.levels.insert(arena, |level| match (0..MAX_PROBES).any(|step| is_free(level, step)) {
            true => Ok(()),
            false => Err(Full),
        })
    }

    /// Makes `id` findable under `hash`. Returns the id to use: the winner's, if another thread was first. `id` is as
    /// good when its room was taken and no level has more: the stack will be recorded anew the next time.
    pub fn insert(&self, hash: StackHash, id: StackId, arena: &Arena) -> StackId {
        self.levels.insert(arena, |level| self.insert_at(level, hash, id)).unwrap_or(id)
    }

    fn insert_at(&self, level: usize, hash: StackHash, id: StackId) -> Result<StackId, Full> {
        for step in 0..MAX_PROBES {
            let slot = self.levels.slot(level, place(hash), step).ok_or(Full)?;
            match slot.a.compare_exchange(0, first_word(hash), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    // Release: pairs with the Acquire in `id_in`.
                    slot.b_and_id.store(hash.b & !ID_MASK | id.index() as u64, Ordering::Release);
                    return Ok(id);
                }
                Err(a) if a == first_word(hash) => {
                    if let Some(winner) = id_in(slot, hash) {
                        return Ok(winner);
                    }
                }
                Err(_) => {}
            }
        }
        Err(Full)
    }

    fn probe(&self, level: usize, hash: StackHash) -> Option<StackId> {
        for step in 0..MAX_PROBES {
            let slot = self.levels.slot(level, place(hash), step)?;
            // Relaxed: what is behind it is read with Acquire.
            match slot.a.load(Ordering::Relaxed) {
                0 => return None,
                a if a == first_word(hash) => {
                    if let Some(id) = id_in(slot, hash) {
                        return Some(id);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

const ID_MASK: u64 = StackId::LIMIT as u64 - 1;

/// Where to look for a hash. The lower bits of the second lane are not in the slot.
fn place(hash: StackHash) -> usize {
    hash.b as usize
}

/// Never that of an empty slot.
fn first_word(hash: StackHash) -> u64 {
    hash.a.max(1)
}

/// The id in a slot whose first word is that of `hash`; `None` when the rest is not, or not there yet.
fn id_in(slot: &Slot, hash: StackHash) -> Option<StackId> {
    // Acquire: pairs with the Release in `insert_at`; the record of the id is visible.
    let word = slot.b_and_id.load(Ordering::Acquire);
    // A real id is never 0.
    (word & ID_MASK != 0 && word & !ID_MASK == hash.b & !ID_MASK).then(|| StackId::new((word & ID_MASK) as u32))
}
