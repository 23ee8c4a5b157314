//! Counters as tests write them down.

use heaptally::Counts;

/// `[blocks, bytes]` allocated, and freed.
pub const fn counts(allocated: [u64; 2], freed: [u64; 2]) -> Counts {
    Counts {
        allocated_blocks: allocated[0],
        allocated_bytes: allocated[1],
        freed_blocks: freed[0],
        freed_bytes: freed[1],
    }
}
