//! An array of zeroed elements that gets its memory block by block, when an element of the block is first wanted.
//!
//! Shared by any number of threads; `get` is two dependent loads, `get_or_map` takes a block from the arena once.
//! Blocks are never moved or freed, so an element's reference is good for ever: this is what the tables indexed by
//! stack id, by thread and by tree node are made of, and why a forked child finds them whole.

use core::ptr::NonNull;

use crate::arena::{Arena, Zeroed};
use crate::sync::{AtomicPtr, Ordering};

/// `BLOCKS` blocks of `PER_BLOCK` elements each.
pub struct LazyTable<T, const BLOCKS: usize, const PER_BLOCK: usize> {
    blocks: [AtomicPtr<[T; PER_BLOCK]>; BLOCKS],
}

impl<T: Zeroed + 'static, const BLOCKS: usize, const PER_BLOCK: usize> LazyTable<T, BLOCKS, PER_BLOCK> {
    /// How many elements the table can hold.
    pub const CAPACITY: usize = BLOCKS * PER_BLOCK;

    /// A table without memory.
    pub const fn new() -> Self {
        const { assert!(PER_BLOCK.is_power_of_two()) };
        Self { blocks: [const { AtomicPtr::new(core::ptr::null_mut()) }; BLOCKS] }
    }

    /// The element, or `None` while its block has no memory or `index` is beyond the table.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'static T> {
        // Acquire: pairs with the Release in `map_block`; the block's zeros are visible.
        let block = NonNull::new(self.blocks.get(index / PER_BLOCK)?.load(Ordering::Acquire))?;
        // SAFETY: blocks come from the arena, are initialised by zeros and live for ever.
        Some(unsafe { &block.as_ref()[index % PER_BLOCK] })
    }

    /// The element, its block taken from `arena` if need be; `None` when there is no memory or `index` is beyond the
    /// table.
    #[inline]
    pub fn get_or_map(&self, index: usize, arena: &Arena) -> Option<&'static T> {
        match self.get(index) {
            Some(element) => Some(element),
            None => self.map_block(index, arena),
        }
    }

    #[cold]
    fn map_block(&self, index: usize, arena: &Arena) -> Option<&'static T> {
        let slot = self.blocks.get(index / PER_BLOCK)?;
        let block = core::ptr::from_ref(arena.slice::<T, PER_BLOCK>()?).cast_mut();
        // Release: pairs with the Acquire in `get`. A thread that comes second leaves its zeros unused in the arena:
        // rare, and bounded by one block for each thread that raced.
        let _ = slot.compare_exchange(core::ptr::null_mut(), block, Ordering::Release, Ordering::Relaxed);
        self.get(index)
    }
}

impl<T: Zeroed + 'static, const BLOCKS: usize, const PER_BLOCK: usize> Default for LazyTable<T, BLOCKS, PER_BLOCK> {
    fn default() -> Self {
        Self::new()
    }
}
