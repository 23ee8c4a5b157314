//! A lock-free stack of small indices: thread states and ring segments that wait for their next user.
//!
//! Any thread pushes and pops, inside the allocator. Index and version share one word, so that a pop that slept while
//! its head was taken and given back (the ABA problem) fails its compare-and-swap instead of handing out an index
//! twice.
//!
//! ```text
//!  head: [ version: 32 │ index + 1: 32 ] ─► links[index] ─► … ─► 0
//! ```
//!
//! # Synchronization
//!
//! A push publishes with Release what was done to the thing behind the index; the pop that takes it reads with
//! Acquire.

use crate::arena::Arena;
use crate::lazy_table::LazyTable;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Holds indices below `BLOCKS * PER_BLOCK`.
pub(crate) struct FreeList<const BLOCKS: usize, const PER_BLOCK: usize> {
    head: AtomicU64,
    /// `links[i]` is one more than the index below `i`; 0 ends the list.
    links: LazyTable<AtomicU32, BLOCKS, PER_BLOCK>,
}

impl<const BLOCKS: usize, const PER_BLOCK: usize> FreeList<BLOCKS, PER_BLOCK> {
    pub(crate) const fn new() -> Self {
        Self { head: AtomicU64::new(0), links: LazyTable::new() }
    }

    /// Offers `index`, which must not be on the list. False when its link found no memory: the index stays with the
    /// caller.
    pub(crate) fn push(&self, index: u32, arena: &Arena) -> bool {
        let Some(link) = self.links.get_or_map(index as usize, arena) else { return false };
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            link.store(head as u32, Ordering::Relaxed);
            // Release: pairs with the Acquire in `pop`.
            match self.head.compare_exchange_weak(
                head,
                next_version(head, index + 1),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(seen) => head = seen,
            }
        }
    }

    /// Takes the index offered last.
    pub(crate) fn pop(&self) -> Option<u32> {
        // Acquire: pairs with the Release in `push`; so does the failure ordering below.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let index = (head as u32).checked_sub(1)?;
            let below = self.links.get(index as usize)?.load(Ordering::Relaxed);
            match self.head.compare_exchange_weak(head, next_version(head, below), Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Some(index),
                Err(seen) => head = seen,
            }
        }
    }
}

fn next_version(head: u64, low: u32) -> u64 {
    ((head >> 32).wrapping_add(1) << 32) | u64::from(low)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::vec::Vec;

    #[test]
    fn the_last_offered_comes_first() {
        let (list, arena) = (FreeList::<4, 16>::new(), Arena::new());
        assert_eq!(list.pop(), None);
        assert!(list.push(3, &arena) && list.push(17, &arena));
        assert_eq!((list.pop(), list.pop(), list.pop()), (Some(17), Some(3), None));
    }

    #[test]
    fn no_index_is_ever_held_twice() {
        let (list, arena) = (FreeList::<4, 16>::new(), Arena::new());
        let held: Vec<AtomicBool> = (0..8).map(|_| AtomicBool::new(false)).collect();
        for index in 0..8 {
            assert!(list.push(index, &arena));
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let Some(index) = list.pop() else { continue };
                        assert!(!held[index as usize].swap(true, core::sync::atomic::Ordering::SeqCst));
                        held[index as usize].store(false, core::sync::atomic::Ordering::SeqCst);
                        assert!(list.push(index, &arena));
                    }
                });
            }
        });
        assert_eq!(core::iter::from_fn(|| list.pop()).count(), 8);
    }
}
