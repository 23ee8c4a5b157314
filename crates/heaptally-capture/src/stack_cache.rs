//! A thread's own cache from a stack's hash to its id, in front of the process-wide table.
//!
//! Used by the owning thread only, inside the hook, while it is busy: plain memory, no atomics. Direct-mapped: the
//! stack met last stays. As the table it keeps 104 bits of a hash, and takes memory as it is used.

use crate::stack_hash::StackHash;
use crate::stack_id::StackId;

/// PERF: 32 KiB. With 256 entries a recursive-descent parser with 300,000 stacks waited twice as often for the table.
const ENTRIES: usize = 2048;

#[derive(Clone, Copy)]
struct Entry {
    a: u64,
    /// The upper bits of the second lane, and the id; 0, the id of a pseudo-row, in an empty entry.
    b_and_id: u64,
}

const ID_MASK: u64 = StackId::LIMIT as u64 - 1;

/// See the module's head. Zeroed memory is an empty cache.
pub(crate) struct StackCache {
    entries: [Entry; ENTRIES],
}

impl StackCache {
    #[inline]
    pub(crate) fn find(&self, hash: StackHash) -> Option<StackId> {
        let entry = &self.entries[hash.b as usize % ENTRIES];
        let id = entry.b_and_id & ID_MASK;
        (entry.a == hash.a && entry.b_and_id & !ID_MASK == hash.b & !ID_MASK && id != 0)
            .then(|| StackId::new(id as u32))
    }

    #[inline]
    pub(crate) fn keep(&mut self, hash: StackHash, id: StackId) {
        let b_and_id = hash.b & !ID_MASK | id.index() as u64;
        self.entries[hash.b as usize % ENTRIES] = Entry { a: hash.a, b_and_id };
    }
}
