//! What heaptally itself costs at the moment of a snapshot, each use beside its limit.

/// Memory, time and tables of heaptally itself. Bytes are bytes of memory, limits come from the
/// configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overhead {
    /// Bytes that the arena has handed out: an upper bound of what is touched of it, since tables are taken whole and
    /// filled by and by.
    pub arena_bytes: u64,
    /// Bytes of address space that the arena asked the system for.
    pub arena_mapped_bytes: u64,
    /// The most bytes of address space that the arena may have.
    pub arena_limit_bytes: u64,
    /// Requested bytes that heaptally holds on the program's heap: the live bytes of "(heaptally
    /// itself)".
    pub internal_live_bytes: u64,
    /// Bytes of tags behind blocks: 8 for each live block, those of heaptally's own heap included. An upper bound: blocks
    /// of 256 bytes and more have their tags in the page map.
    pub tag_bytes: u64,
    /// Bytes of the page map that are in memory, which holds the tags of blocks of 256 bytes and more: whole pages, one
    /// for every 128 KiB of addresses that have had such a block, and for every 2 MiB that have had one of 4 KiB and more.
    /// 0 when the system does not tell.
    pub page_map_bytes: u64,
    /// Thread states in existence, in use or waiting for the next new thread.
    pub threads: u64,
    /// The most thread states there may be.
    pub threads_limit: u64,
    /// Distinct stacks recorded, whole or short.
    pub stacks: u64,
    /// When `stacks` has come to this, of further ones only the innermost frames are kept.
    pub stacks_limit: u64,
    /// When `stacks` has come to this, further ones are in the row "(overflow)".
    pub short_stacks_limit: u64,
    /// Frames of all stacks; those with the same callers share theirs.
    pub stack_nodes: u64,
    /// The most such frames; from three quarters on only the innermost ones of a new stack are kept.
    pub stack_nodes_limit: u64,
    /// Call sites whose unwind rule is kept.
    pub rules: u64,
    /// The most rules there is room for; others are compiled whenever they are needed.
    pub rules_limit: u64,
    /// Bytes of the threads' own pages of counters.
    pub counter_page_bytes: u64,
    /// The most bytes of such pages; beyond it threads count on shared lines.
    pub counter_page_limit_bytes: u64,
    /// Bytes of all segments of rings ever made, in use or waiting for their next use.
    pub ring_bytes: u64,
    /// The most bytes of ring that one thread may use.
    pub ring_limit_bytes: u64,
    /// The most bytes of ring that all threads together may use.
    pub all_rings_limit_bytes: u64,
    /// Bytes of the history, which are among the live bytes of "(heaptally itself)".
    pub history_bytes: u64,
    /// The most bytes that the history may take; 0 without one.
    pub history_limit_bytes: u64,
    /// Processor time of the aggregator thread, in nanoseconds.
    pub aggregator_cpu_ns: u64,
    /// How long this snapshot took to make, in nanoseconds.
    pub snapshot_ns: u64,
    /// How long looking up symbols has taken since the start, for all snapshots together, in nanoseconds.
    pub symbolize_ns: u64,
}

impl Overhead {
    /// The memory that would not be there without heaptally: arena, own heap, tags and page map. An upper bound, as far as
    /// those of arena and tags are.
    pub fn own_bytes(&self) -> u64 {
        // A file may claim anything.
        [self.internal_live_bytes, self.tag_bytes, self.page_map_bytes]
            .into_iter()
            .fold(self.arena_bytes, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_bytes_are_arena_heap_tags_and_page_map() {
        let overhead = Overhead {
            arena_bytes: 1000,
            arena_mapped_bytes: 4096,
            internal_live_bytes: 200,
            tag_bytes: 80,
            page_map_bytes: 8192,
            ..Overhead::default()
        };
        assert_eq!(overhead.own_bytes(), 9472);
    }
}
