//! The process-wide table from a stack's hash to its id: insert-only and lock-free.
//!
//! Called in the hook by any thread whose own cache does not know the stack. A lookup is one probe of a dense array
//! of words and one read of the full hash; an insertion is one compare-and-swap. Never allocates through the global
//! allocator: the arrays come from the arena.
//!
//! ```text
//!  newest ─► level k   [ hash: 40 bits │ id: 24 ] × 4^k × 4096     dense: 8 bytes a stack
//!  older  ─► level k-1 [ ... ]                                     a hit here is copied to the newest level
//!                        │
//!                        └─► hashes[id]: all 128 bits
//! ```
//!
//! The same stack may end up with two ids when two threads insert it at once on two levels. That costs an id, never a
//! number: rows are added up by the frames of the stack, not by id.
//!
//! # Synchronization
//!
//! `hashes[id]` is written before the slot that names `id` is published (Release), and read after the slot was read
//! (Acquire). The caller publishes the stack's record in its ring before it calls [`StackTable::insert`], so every id
//! that anybody finds here has its record.

use crate::arena::{Arena, Zeroed};
use crate::lazy_table::LazyTable;
use crate::stack_hash::StackHash;
use crate::stack_id::StackId;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Slots looked at on one level before the next is tried.
const MAX_PROBES: usize = 16;
/// Slots of the first level; each next one has four times as many.
const FIRST_LEVEL_SLOTS: usize = 4096;
/// 4096 · 4^6 = 16.8 million slots: as many as there are ids.
const LEVELS: usize = 7;
const IDS_PER_BLOCK: usize = 1024;
const ID_BLOCKS: usize = StackId::LIMIT as usize / IDS_PER_BLOCK;

#[derive(Default)]
struct FullHash {
    a: AtomicU64,
    b: AtomicU64,
}

// SAFETY: two atomic words; no stack is looked up by the zeros, since no slot names their id yet.
unsafe impl Zeroed for FullHash {}
// SAFETY: a zero atomic word is an empty slot.
unsafe impl Zeroed for AtomicU64 {}

/// See the module's head.
pub struct StackTable {
    levels: [AtomicPtr<AtomicU64>; LEVELS],
    hashes: LazyTable<FullHash, ID_BLOCKS, IDS_PER_BLOCK>,
    /// One past the highest id in use.
    issued: AtomicU32,
    /// Ids are issued below this.
    limit: AtomicU32,
}

impl StackTable {
    /// An empty table that issues no ids until its limit is raised.
    pub(crate) const fn new() -> Self {
        Self {
            levels: [const { AtomicPtr::new(core::ptr::null_mut()) }; LEVELS],
            hashes: LazyTable::new(),
            issued: AtomicU32::new(StackId::FIRST_REAL.index() as u32),
            limit: AtomicU32::new(StackId::FIRST_REAL.index() as u32),
        }
    }

    /// One past the highest id issued. Ids below it have their record in a ring or in the store, or were left unused.
    #[inline]
    pub fn issued(&self) -> u32 {
        // Acquire: pairs with the Release in `issue`.
        self.issued.load(Ordering::Acquire)
    }

    /// The most ids that may be issued.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the most ids that may be issued, pseudo-rows included.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit.clamp(StackId::FIRST_REAL.index() as u32, StackId::LIMIT), Ordering::Relaxed);
    }

    /// The id of a stack somebody has inserted.
    pub fn find(&self, hash: StackHash) -> Option<StackId> {
        let newest = self.newest_level()?;
        for level in (0..=newest).rev() {
            if let Probe::Found(id) = self.probe(level, hash) {
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
    pub fn issue(&self, hash: StackHash, arena: &Arena, prepare: impl Fn(StackId) -> bool) -> Option<StackId> {
        self.make_room(hash, arena)?;
        loop {
            let index = self.issued.load(Ordering::Relaxed);
            // Check, then compare-and-swap: attempts that are refused cannot wrap the counter.
            if index >= self.limit() {
                return None;
            }
            let id = StackId::new(index);
            self.hashes.get_or_map(id.index(), arena)?;
            if !prepare(id) {
                return None;
            }
            // Release: pairs with the Acquire in `issued`.
            if self.issued.compare_exchange(index, index + 1, Ordering::Release, Ordering::Relaxed).is_ok() {
                let full = self.hashes.get(id.index())?;
                full.a.store(hash.a, Ordering::Relaxed);
                full.b.store(hash.b, Ordering::Relaxed);
                return Some(id);
            }
        }
    }

    /// Makes sure that a level has room for `hash`, unless another thread takes it first.
    fn make_room(&self, hash: StackHash, arena: &Arena) -> Option<()> {
        for level in self.newest_level().unwrap_or(0)..LEVELS {
            self.level_or_map(level, arena)?;
            if !matches!(self.probe(level, hash), Probe::Full) {
                return Some(());
            }
        }
        None
    }

    /// Makes `id` findable under `hash`. Returns the id to use: the winner's, if another thread was first. `id` is as
    /// good when its room was taken and no level has more: the stack will be recorded anew the next time.
    pub fn insert(&self, hash: StackHash, id: StackId, arena: &Arena) -> StackId {
        let mut level = self.newest_level().unwrap_or(0);
        while level < LEVELS {
            if self.level_or_map(level, arena).is_none() {
                return id;
            }
            match self.insert_at(level, hash, id) {
                Ok(winner) => return winner,
                Err(Full) => level += 1,
            }
        }
        id
    }

    fn insert_at(&self, level: usize, hash: StackHash, id: StackId) -> Result<StackId, Full> {
        let slot_word = tag_of(hash) | id.index() as u64;
        loop {
            match self.probe(level, hash) {
                Probe::Found(winner) => return Ok(winner),
                Probe::Full => return Err(Full),
                // Release: pairs with the Acquire in `probe`; the full hash is visible to whoever sees the slot.
                Probe::Empty(slot) => {
                    if slot.compare_exchange(0, slot_word, Ordering::Release, Ordering::Relaxed).is_ok() {
                        return Ok(id);
                    }
                }
            }
        }
    }

    fn probe(&self, level: usize, hash: StackHash) -> Probe<'_> {
        // Acquire: pairs with the Release in `level_or_map`.
        let base = self.levels[level].load(Ordering::Acquire);
        if base.is_null() {
            return Probe::Full;
        }
        let mask = level_slots(level) - 1;
        for step in 0..MAX_PROBES {
            // SAFETY: a level has `mask + 1` slots, zeroed, in memory that lives for ever.
            let slot = unsafe { &*base.add((hash.b as usize).wrapping_add(step) & mask) };
            // Acquire: pairs with the Release in `insert_at`.
            let word = slot.load(Ordering::Acquire);
            if word == 0 {
                return Probe::Empty(slot);
            }
            if word & !ID_MASK == tag_of(hash) {
                let id = StackId::new((word & ID_MASK) as u32);
                if self.full_hash(id) == Some(hash) {
                    return Probe::Found(id);
                }
            }
        }
        Probe::Full
    }

    fn full_hash(&self, id: StackId) -> Option<StackHash> {
        let full = self.hashes.get(id.index())?;
        Some(StackHash { a: full.a.load(Ordering::Relaxed), b: full.b.load(Ordering::Relaxed) })
    }

    fn newest_level(&self) -> Option<usize> {
        self.levels.iter().rposition(|level| !level.load(Ordering::Relaxed).is_null())
    }

    fn level_or_map(&self, level: usize, arena: &Arena) -> Option<()> {
        if !self.levels[level].load(Ordering::Relaxed).is_null() {
            return Some(());
        }
        let slots = match level {
            0 => arena.slice::<AtomicU64, { level_slots(0) }>()?.as_ptr(),
            1 => arena.slice::<AtomicU64, { level_slots(1) }>()?.as_ptr(),
            2 => arena.slice::<AtomicU64, { level_slots(2) }>()?.as_ptr(),
            3 => arena.slice::<AtomicU64, { level_slots(3) }>()?.as_ptr(),
            4 => arena.slice::<AtomicU64, { level_slots(4) }>()?.as_ptr(),
            5 => arena.slice::<AtomicU64, { level_slots(5) }>()?.as_ptr(),
            _ => arena.slice::<AtomicU64, { level_slots(6) }>()?.as_ptr(),
        };
        // Release: pairs with the Acquire in `probe`. A thread that comes second leaves its zeros in the arena,
        // untouched.
        let _ = self.levels[level].compare_exchange(
            core::ptr::null_mut(),
            slots.cast_mut(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        Some(())
    }
}

const ID_MASK: u64 = StackId::LIMIT as u64 - 1;

const fn level_slots(level: usize) -> usize {
    FIRST_LEVEL_SLOTS << (2 * level)
}

/// The upper 40 bits of a slot. Never all zero together with a real id, so never the empty slot.
fn tag_of(hash: StackHash) -> u64 {
    hash.a & !ID_MASK
}

struct Full;

enum Probe<'a> {
    Found(StackId),
    Empty(&'a AtomicU64),
    Full,
}
