//! The memory of all rings: segments that go from ring to ring, and how many there may be.
//!
//! Taken by the owner of a ring inside the hook, given back by whoever drains; lock-free. Segments come from the arena and
//! live for ever, so that one is found by its number at any time.
//!
//! # Synchronization
//!
//! A segment's address is stored with Release after its number, and read with Acquire. The free list orders the last use
//! of a segment before the next one.

use crate::arena::{Arena, Zeroed};
use crate::free_list::FreeList;
use crate::lazy_table::LazyTable;
use crate::stack_table::Extent;
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Words of records in a segment: 8 KiB with its header.
pub(crate) const SEGMENT_WORDS: usize = if cfg!(heaptally_loom) { 4 } else { 1021 };
pub(crate) const SEGMENT_BYTES: usize = size_of::<Segment>();
const _: () = assert!(SEGMENT_BYTES == 8192 || cfg!(heaptally_loom));
/// The least a ring may hold. The producer's segment is never taken from it, so beside a full one there must be room
/// for another, within the three quarters of whole stacks: with less, a ring that was full once would refuse for ever.
pub const MIN_RING_BYTES: usize = 4 * SEGMENT_BYTES;
const _: () = assert!(within(Extent::Full, MIN_RING_BYTES) >= 2 * SEGMENT_BYTES);

const POOL_BLOCKS: usize = 1024;
const POOL_PER_BLOCK: usize = 1024;

/// A piece of a ring.
#[repr(C)]
pub(crate) struct Segment {
    /// Words written, at most SEGMENT_WORDS; producer to consumer.
    pub(crate) written: AtomicU32,
    /// Words consumed, at most `written`; the consumer's own.
    pub(crate) read: AtomicU32,
    /// One more than the pool's number of the next segment; 0 while this is the last.
    pub(crate) next: AtomicU32,
    /// One more than the pool's number of this segment.
    pub(crate) number: AtomicU32,
    pub(crate) words: [AtomicU64; SEGMENT_WORDS],
    _reserved: [AtomicU32; 2],
}

// SAFETY: atomic words; all zero is an empty segment without successor.
unsafe impl Zeroed for Segment {}
// SAFETY: a null pointer's worth of zero means "no segment of that number yet".
unsafe impl Zeroed for AtomicUsize {}

/// The segments of all rings, by number.
pub struct SegmentPool {
    free: FreeList<POOL_BLOCKS, POOL_PER_BLOCK>,
    /// Address of each segment.
    segments: LazyTable<AtomicUsize, POOL_BLOCKS, POOL_PER_BLOCK>,
    count: AtomicU32,
    /// Segments that are part of a ring.
    in_use: AtomicU32,
    /// Bytes of segments that rings may have.
    limit_bytes: AtomicUsize,
}

impl SegmentPool {
    /// A pool without segments.
    pub(crate) const fn new() -> Self {
        Self {
            free: FreeList::new(),
            segments: LazyTable::new(),
            count: AtomicU32::new(0),
            in_use: AtomicU32::new(0),
            limit_bytes: AtomicUsize::new(0),
        }
    }

    /// Bytes of all segments, in use or not.
    pub fn bytes(&self) -> usize {
        self.count.load(Ordering::Relaxed) as usize * SEGMENT_BYTES
    }

    /// Bytes of segments that all rings together may have.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Changes the limit; less than [`MIN_RING_BYTES`] are taken for as many.
    pub fn set_limit_bytes(&self, limit_bytes: usize) {
        self.limit_bytes.store(limit_bytes.max(MIN_RING_BYTES), Ordering::Relaxed);
    }

    pub(crate) fn in_use_bytes(&self) -> usize {
        self.in_use.load(Ordering::Relaxed) as usize * SEGMENT_BYTES
    }

    /// A segment for a ring that is to hold a record of this extent.
    pub(crate) fn take(&self, extent: Extent, arena: &Arena) -> Option<&'static Segment> {
        // Taken first and given back if it was too much: somebody else may be refused meanwhile, never let in.
        let in_use = self.in_use.fetch_add(1, Ordering::Relaxed) as usize + 1;
        let has_room = in_use * SEGMENT_BYTES <= within(extent, self.limit_bytes());
        let segment = if has_room { self.reuse_or_make(arena) } else { None };
        if segment.is_none() {
            self.in_use.fetch_sub(1, Ordering::Relaxed);
        }
        segment
    }

    fn reuse_or_make(&self, arena: &Arena) -> Option<&'static Segment> {
        if let Some(index) = self.free.pop() {
            let segment = self.segment(index + 1)?;
            segment.written.store(0, Ordering::Relaxed);
            segment.read.store(0, Ordering::Relaxed);
            segment.next.store(0, Ordering::Relaxed);
            return Some(segment);
        }
        let mut index = self.count.load(Ordering::Relaxed);
        // Memory first, for the number and for the segment.
        self.segments.get_or_map(index as usize, arena)?;
        let segment = arena.one::<Segment>()?;
        loop {
            let slot = self.segments.get_or_map(index as usize, arena)?;
            match self.count.compare_exchange_weak(index, index + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    segment.number.store(index + 1, Ordering::Relaxed);
                    // Release: pairs with the Acquire in `segment`.
                    slot.store(core::ptr::from_ref(segment).expose_provenance(), Ordering::Release);
                    return Some(segment);
                }
                Err(seen) => index = seen,
            }
        }
    }

    pub(crate) fn give_back(&self, segment: &Segment, arena: &Arena) {
        // A link that finds no memory loses one segment to the pool, which the arena's failed mappings show.
        self.free.push(segment.number.load(Ordering::Relaxed) - 1, arena);
        self.in_use.fetch_sub(1, Ordering::Relaxed);
    }

    /// The segment with this number, 0 being none.
    pub(crate) fn segment(&self, number: u32) -> Option<&'static Segment> {
        let index = number.checked_sub(1)?;
        // Acquire: pairs with the Release in `take`.
        let address = self.segments.get(index as usize)?.load(Ordering::Acquire);
        let segment = core::ptr::with_exposed_provenance::<Segment>(address);
        // SAFETY: the address is zero or that of a segment from the arena, which lives for ever.
        unsafe { segment.as_ref() }
    }
}

/// What a record of this extent may fill of a budget.
pub(crate) const fn within(extent: Extent, budget_bytes: usize) -> usize {
    match extent {
        Extent::Full => budget_bytes - budget_bytes / 4,
        Extent::Short => budget_bytes,
    }
}
