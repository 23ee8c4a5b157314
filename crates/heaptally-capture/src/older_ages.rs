//! How many blocks of each stack were freed a tick or more after they were born, by ranges of ages.
//!
//! Added to by any thread in the hook, after the free was counted on the line; read by snapshots. Not part of the lines:
//! most blocks do not outlive the tick they were born in, and those that do are too few for the price of an atomic
//! addition to matter. Blocks freed in the tick of their birth are all the others that the line has counted.

use crate::arena::Arena;
use crate::lazy_table::LazyTable;
use crate::stack_id::StackId;
use crate::sync::{AtomicU64, Ordering};

/// Ranges of ages: from 1, 8, 64, 512 and 4,096 ticks on, which are a quarter of a second, 2 s, 16 s, 128 s and 17
/// minutes.
pub const OLDER_AGES: usize = 5;

const PER_BLOCK: usize = 64;
const BLOCKS: usize = StackId::LIMIT as usize / PER_BLOCK;

/// Freed blocks of one stack by age. Zeroed memory is none.
#[derive(Debug, Default)]
pub(crate) struct Ages([AtomicU64; OLDER_AGES]);

// SAFETY: atomic words, zero is "nothing counted", no drop.
unsafe impl crate::arena::Zeroed for Ages {}

impl Ages {
    /// Blocks freed, youngest range first.
    fn get(&self) -> [u64; OLDER_AGES] {
        // Acquire: pairs with the Release in `add`.
        self.0.each_ref().map(|count| count.load(Ordering::Acquire))
    }

    fn add(&self, age_ticks: u64) {
        let range = age_ticks.checked_ilog2().map_or(0, |bits| bits as usize / 3).min(OLDER_AGES - 1);
        // Release: pairs with the Acquire in `get`. Who sees this sees that the free was counted.
        self.0[range].fetch_add(1, Ordering::Release);
    }
}

/// See the module's head.
pub struct OlderAges {
    stacks: LazyTable<Ages, BLOCKS, PER_BLOCK>,
}

impl OlderAges {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { stacks: LazyTable::new() }
    }

    /// Counts a block of `id` that was freed `age_ticks` after its birth, one at least. False when there is no memory for
    /// that: then it is among those freed in the tick of their birth.
    #[cold]
    pub(crate) fn add(&self, id: StackId, age_ticks: u64, arena: &Arena) -> bool {
        let ages = self.stacks.get_or_map(id.index(), arena);
        ages.inspect(|ages| ages.add(age_ticks)).is_some()
    }

    /// Every stack below `issued` that is near one of which a block has got older than a tick.
    pub(crate) fn for_each(&self, issued: u32, mut visit: impl FnMut(StackId, [u64; OLDER_AGES])) {
        for first in (0..issued as usize).step_by(PER_BLOCK) {
            if self.stacks.get(first).is_none() {
                continue;
            }
            for index in first..(first + PER_BLOCK).min(issued as usize) {
                if let Some(ages) = self.stacks.get(index) {
                    visit(StackId::new(index as u32), ages.get());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_begin_at_powers_of_eight() {
        let ages = Ages::default();
        for age in [1, 7, 8, 63, 64, 511, 512, 4095, 4096, 1 << 26] {
            ages.add(age);
        }
        assert_eq!(ages.get(), [2, 2, 2, 2, 2]);
    }
}
