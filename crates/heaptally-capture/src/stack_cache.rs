//! A thread's own small cache from a stack's hash to its id, in front of the process-wide table.
//!
//! Used by the owning thread only, inside the hook, while it is busy: plain memory, no atomics. Direct-mapped: the
//! stack met last stays.

use crate::stack_hash::StackHash;
use crate::stack_id::StackId;

const ENTRIES: usize = 256;

#[derive(Clone, Copy)]
struct Entry {
    a: u64,
    b: u64,
    /// Zero, the id of a pseudo-row, in an empty entry.
    id: u32,
}

/// See the module's head. Zeroed memory is an empty cache.
pub(crate) struct StackCache {
    entries: [Entry; ENTRIES],
}

impl StackCache {
    #[inline]
    pub(crate) fn find(&self, hash: StackHash) -> Option<StackId> {
        let entry = &self.entries[hash.a as usize % ENTRIES];
        (entry.a == hash.a && entry.b == hash.b && entry.id != 0).then(|| StackId::new(entry.id))
    }

    #[inline]
    pub(crate) fn keep(&mut self, hash: StackHash, id: StackId) {
        self.entries[hash.a as usize % ENTRIES] = Entry { a: hash.a, b: hash.b, id: id.index() as u32 };
    }
}
