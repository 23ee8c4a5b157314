//! Where the tags of large blocks lie: a radix tree over the address space, one slot for each granule.
//!
//! Looked up in the hook by any thread, for every operation on a large block; two loads, no lock. There are two maps: of
//! blocks of 256 bytes and more, whose granules are as large, and of those of 4 KiB and more, so that where blocks are far
//! apart, a page of slots has many. Two blocks of a map cannot begin in one granule, so a slot belongs to the block that
//! begins in its granule: no hash, no collision.
//!
//! ```text
//!  address  [ 0 │ root: 19 bits │ granule: 20 bits │ 8 bits ]   blocks of 256 bytes to 4 KiB
//!           [ 0 │ root: 19 bits │ granule: 16 │     12 bits ]   of 4 KiB and more
//!
//!  roots ─► leaf   8 MiB, or 512 KiB, of slots for 256 MiB of addresses; a page of it, 512 slots, for 128 KiB, or 2 MiB
//!  a root, as a signed number:  the leaf's address, or 0, or minus the untagged blocks that live in its addresses
//! ```
//!
//! A leaf is mapped when the first large block of its addresses comes. If the system refuses, the block is *untagged*,
//! and so is every further one there until all untagged ones are gone; only then is the leaf asked for again. So it is
//! known at the free whether a block without a slot may be one of those: if their bytes are not fewer than its own.
//! Addresses beyond 47 bits share a root that never has a leaf.
//!
//! # Synchronization
//!
//! A leaf's address is stored with Release after its zeros exist, and read with Acquire. Leaves stay for ever. A slot is
//! plain memory of whoever owns the block that begins there, handed on with the block; the count of untagged blocks
//! changes by compare-and-swap. Their bytes are added with Release once the allocation is in its row, and taken with
//! Acquire before the free is: a free of something else, with which no block was handed on, makes no row negative.

use core::mem::offset_of;
use core::ptr::NonNull;

use crate::arena::{Arena, Zeroed};
use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use crate::sys;

/// Bits of the addresses that user space has on x86-64 unless it asks for more.
const ADDRESS_BITS: u32 = 47;
const LEAF_BITS: u32 = 28;
const ROOTS: usize = 1 << (ADDRESS_BITS - LEAF_BITS);
/// Bits of an address in a granule of blocks of 256 bytes and more, and of 4 KiB and more.
pub(crate) const FINE_BITS: u32 = 8;
pub(crate) const COARSE_BITS: u32 = 12;
const FINE_SLOTS: usize = 1 << (LEAF_BITS - FINE_BITS);
const COARSE_SLOTS: usize = 1 << (LEAF_BITS - COARSE_BITS);

#[repr(C)]
struct Leaf<const SLOTS: usize> {
    slots: [AtomicU64; SLOTS],
    /// The leaf that was mapped before it.
    next: AtomicPtr<Leaf<SLOTS>>,
}

// SAFETY: zeros are slots without a tag and no next leaf; atomics; no drop.
unsafe impl<const SLOTS: usize> Zeroed for Leaf<SLOTS> {}

/// See the module's head: a map with so many slots in a leaf. Zeroed memory is one without leaves.
pub(crate) struct PageMap<const SLOTS: usize> {
    /// The last one is of all addresses that are beyond the others.
    roots: [AtomicUsize; ROOTS + 1],
    /// Bytes of all untagged blocks together.
    untagged_bytes: AtomicUsize,
    /// The leaf mapped last.
    leaves: AtomicPtr<Leaf<SLOTS>>,
    /// Whether the system knows that the roots are sparse.
    is_prepared: AtomicBool,
}

/// The process's. Apart from [`crate::PROCESS`], so that 4 MiB of roots in each are no part of the program's file.
pub(crate) static FINE: PageMap<FINE_SLOTS> = PageMap::new();
pub(crate) static COARSE: PageMap<COARSE_SLOTS> = PageMap::new();

/// Keeps the system from backing the roots with 2 MiB for each that is touched. Called when a thread is registered: the
/// first of the process is, as a rule, before it has a large block. Afterwards it would be too late, since a look at a root
/// is enough for a huge page of zeros, which turns into a real one with the first leaf, advice or not.
pub fn prepare() {
    FINE.prepare();
    COARSE.prepare();
}

/// Bytes of all slots and roots that are in memory now, as the kernel tells.
pub fn resident_bytes() -> usize {
    FINE.resident_bytes() + COARSE.resident_bytes()
}

impl<const SLOTS: usize> PageMap<SLOTS> {
    pub(crate) const fn new() -> Self {
        Self {
            roots: [const { AtomicUsize::new(0) }; ROOTS + 1],
            untagged_bytes: AtomicUsize::new(0),
            leaves: AtomicPtr::new(core::ptr::null_mut()),
            is_prepared: AtomicBool::new(false),
        }
    }

    fn prepare(&self) {
        if !self.is_prepared.load(Ordering::Relaxed) && !self.is_prepared.swap(true, Ordering::Relaxed) {
            sys::decline_huge_pages(NonNull::from(&self.roots).cast(), size_of_val(&self.roots));
        }
    }

    /// The slot of the granule that `address` lies in, if there is a leaf for it.
    #[inline]
    pub(crate) fn slot(&self, address: usize) -> Option<*mut u64> {
        // Acquire: pairs with the Release in `map_leaf`; the leaf's zeros are visible.
        Self::slot_in(self.roots.get(address >> LEAF_BITS)?.load(Ordering::Acquire), address)
    }

    /// Makes sure that there is a slot for a block at `address`. False when there is no memory, or the address is beyond
    /// the map: then the block has been counted as untagged, and its bytes are still to be added.
    #[cold]
    pub(crate) fn make_slot(&self, address: usize, arena: &Arena) -> bool {
        let root = self.root(address);
        loop {
            let seen = root.load(Ordering::Acquire);
            if Self::slot_in(seen, address).is_some() {
                return true;
            }
            if seen == 0 && address >> ADDRESS_BITS == 0 && self.map_leaf(root, arena) {
                continue;
            }
            // Relaxed: a count on its own. Its block reaches whoever frees it later than this.
            if root.compare_exchange(seen, seen.wrapping_sub(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return false;
            }
        }
    }

    /// Adds the bytes of an untagged block, which is in its row.
    #[cold]
    pub(crate) fn add_untagged_bytes(&self, size: usize) {
        // Release: pairs with the Acquire in `take_untagged`.
        self.untagged_bytes.fetch_add(size, Ordering::Release);
    }

    /// Whether an untagged block of `size` bytes may have begun at `address`. It is no longer counted then.
    #[cold]
    pub(crate) fn take_untagged(&self, address: usize, size: usize) -> bool {
        let root = self.root(address);
        if root.load(Ordering::Relaxed) as isize >= 0 {
            return false;
        }
        // Acquire: pairs with the Release in `add_untagged_bytes`; the bytes are in the row.
        let fewer = |bytes: usize| bytes.checked_sub(size);
        if self.untagged_bytes.fetch_update(Ordering::Acquire, Ordering::Relaxed, fewer).is_err() {
            return false;
        }
        let less = |root: usize| ((root as isize) < 0).then(|| root.wrapping_add(1));
        let is_taken = root.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        if !is_taken {
            self.untagged_bytes.fetch_add(size, Ordering::Relaxed);
        }
        is_taken
    }

    fn resident_bytes(&self) -> usize {
        let mut bytes = sys::resident_bytes(NonNull::from(&self.roots).cast(), size_of_val(&self.roots));
        let mut leaf = self.leaves.load(Ordering::Acquire);
        // SAFETY: leaves are listed when they are whole, and stay for ever.
        while let Some(listed) = unsafe { leaf.as_ref() } {
            bytes += sys::resident_bytes(NonNull::from(listed).cast(), size_of::<Leaf<SLOTS>>());
            leaf = listed.next.load(Ordering::Relaxed);
        }
        bytes
    }

    fn root(&self, address: usize) -> &AtomicUsize {
        &self.roots[(address >> LEAF_BITS).min(ROOTS)]
    }

    /// The slot of `address` in the leaf that a root leads to, if it leads to one.
    #[inline]
    fn slot_in(root: usize, address: usize) -> Option<*mut u64> {
        // PERF: one test for no leaf and for a count.
        if root as isize <= 0 {
            return None;
        }
        const { assert!(SLOTS.is_power_of_two() && offset_of!(Leaf<SLOTS>, slots) == 0) };
        let granule = (address >> (LEAF_BITS - SLOTS.ilog2())) % SLOTS;
        // SAFETY: a positive root is the address of a leaf, which lives for ever; the granule is one of its slots.
        // Addresses of user memory are positive.
        Some(unsafe { core::ptr::with_exposed_provenance_mut::<u64>(root).add(granule) })
    }

    /// Puts a leaf where there is none; false when the system refuses. Another thread may have been sooner.
    fn map_leaf(&self, root: &AtomicUsize, arena: &Arena) -> bool {
        let Some(leaf) = arena.sparse::<Leaf<SLOTS>>() else { return false };
        // Release: pairs with the Acquire in `slot` and `make_slot`.
        match root.compare_exchange(0, leaf.as_ptr().expose_provenance(), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => self.list(leaf),
            // SAFETY: from `sparse`, and nobody has seen it.
            Err(_) => unsafe { arena.take_back(leaf) },
        }
        true
    }

    /// Notes a leaf for `resident_bytes`.
    fn list(&self, leaf: NonNull<Leaf<SLOTS>>) {
        let mut newest = self.leaves.load(Ordering::Relaxed);
        loop {
            // SAFETY: a leaf stays for ever.
            unsafe { leaf.as_ref() }.next.store(newest, Ordering::Relaxed);
            // Release: pairs with the Acquire in `resident_bytes`.
            match self.leaves.compare_exchange_weak(newest, leaf.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => newest = seen,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Maps of 4 MiB have no place on a stack.
    static MAP: PageMap<FINE_SLOTS> = PageMap::new();
    static COARSE_MAP: PageMap<COARSE_SLOTS> = PageMap::new();
    static ARENA: Arena = Arena::new();

    fn slot(address: usize) -> *mut u64 {
        assert!(MAP.make_slot(address, &ARENA));
        MAP.slot(address).unwrap()
    }

    #[test]
    fn a_slot_belongs_to_256_bytes() {
        let at = slot(0x7000_1234_5600);
        assert_eq!(MAP.slot(0x7000_1234_56FF), Some(at));
        assert_eq!(MAP.slot(0x7000_1234_5700), Some(at.wrapping_add(1)));
        assert_eq!(MAP.slot(0x7000_1234_55FF), Some(at.wrapping_sub(1)));
    }

    #[test]
    fn a_coarse_slot_belongs_to_4_kib() {
        assert!(COARSE_MAP.make_slot(0x7000_1234_5000, &ARENA));
        let at = COARSE_MAP.slot(0x7000_1234_5000).unwrap();
        assert_eq!(COARSE_MAP.slot(0x7000_1234_5FFF), Some(at));
        assert_eq!(COARSE_MAP.slot(0x7000_1234_6000), Some(at.wrapping_add(1)));
        let first = COARSE_MAP.slot(0x7000_1000_0000).unwrap();
        assert_eq!(COARSE_MAP.slot(0x7000_1FFF_FFFF), Some(first.wrapping_add(0xFFFF)));
        assert_eq!(COARSE_MAP.slot(0x7000_2000_0000), None);
    }

    #[test]
    fn a_leaf_has_the_slots_of_256_mib() {
        assert_eq!(MAP.slot(0x6000_0000_0000), None);
        let first = slot(0x6000_0000_0000);
        assert_eq!(MAP.slot(0x6000_0FFF_FFFF), Some(first.wrapping_add(0xF_FFFF)));
        assert_eq!(MAP.slot(0x6000_1000_0000), None);
        // SAFETY: a slot of a mapped leaf, which nobody else uses.
        assert_eq!(unsafe { first.read() }, 0);
    }

    #[test]
    fn addresses_beyond_the_map_are_untagged_until_they_are_freed() {
        for address in [1 << 47, 0x00FF_0000_0000_0000, usize::MAX] {
            assert!(!MAP.make_slot(address, &ARENA));
            MAP.add_untagged_bytes(1000);
            assert_eq!(MAP.slot(address), None);
        }
        assert!(MAP.take_untagged(1 << 50, 1000) && !MAP.take_untagged(1 << 47, 2001));
        assert!(MAP.take_untagged(1 << 47, 400) && MAP.take_untagged(usize::MAX, 1600));
        assert!(!MAP.take_untagged(1 << 47, 0));
    }

    #[test]
    fn a_leaf_takes_no_memory_but_for_the_pages_of_its_slots() {
        // SAFETY: slots of a mapped leaf, which nobody else uses.
        unsafe { slot(0x5000_0000_0000).write(1) };
        let resident = MAP.resident_bytes();
        // 128 KiB further on, in the next page, twice.
        for address in [0x5000_0002_0000, 0x5000_0003_FFFF] {
            // SAFETY: as above.
            unsafe { slot(address).write(1) };
        }
        // Other tests touch roots and leaves of their own meanwhile.
        assert!((resident + 4096..resident + 16 * 4096).contains(&MAP.resident_bytes()));
    }
}
