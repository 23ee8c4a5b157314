//! A thread's ring of raw stacks on their way to the aggregator: one producer, one consumer, a chain of segments.
//!
//! The owning thread pushes inside the hook, the first time the process meets a stack; whoever drains (one at a time,
//! never the hook) pops. Neither waits for the other. A full segment is followed by another one from the pool, up to
//! two budgets, the ring's and that of all rings together; a push that would pass one or finds no memory is refused and
//! the caller counts it. Drained segments go back to the pool. Whole stacks fill three quarters of a budget: the rest is
//! for short ones.
//!
//! ```text
//!             head (consumer)                       tail (producer)
//!               ▼                                     ▼
//!  segment [ read ▸ ░░░░░░░░ ] ─next─► [ ░░░░ ] ─► [ ░░░░░ ▸ written     ]
//!
//!  record: [ drop: 16 │ new: 16 │ base: 1 │ truncated: 1 │ stack id: 24 ] [ base's id ]? [ ip, leaf first ] × new
//! ```
//!
//! A stack is recorded as what is new of it: its *base* is a stack that the same ring has recorded before, of which the
//! innermost `drop` frames are gone. A program that goes in and out of a deep stack records four frames a stack, not
//! sixty.
//!
//! A ring belongs to a thread state, not to a thread: the next owner goes on where the last one stopped, and records
//! describe themselves.
//!
//! # Synchronization
//!
//! The producer stores `written` with Release after the words of a record; the consumer loads it with Acquire. `next`
//! is stored with Release after the last record of its segment, so a consumer that sees `next` and then reads
//! `written` again has all of it. The consumer moves `read` only after the record is in the stack store: at every
//! instant, also in a forked child, a stack is in a ring or in the store.

use crate::arena::{Arena, Zeroed};
use crate::segment_pool::{SEGMENT_BYTES, SEGMENT_WORDS, Segment, SegmentPool, within};
use crate::stack_id::StackId;
use crate::stack_table::Extent;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Frames of the deepest stack that is recorded.
pub const MAX_DEPTH: usize = 512;
const _: () = assert!(2 + MAX_DEPTH < SEGMENT_WORDS || cfg!(heaptally_loom));

/// What a ring holds when it first asks to be drained. Long before it is full: who drains needs longer for a stack than
/// who records it.
const DRAIN_FROM_BYTES: usize = 512 << 10;

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingFull;

/// A raw stack as it comes out of a ring.
pub struct Record<'a> {
    /// Its id.
    pub id: StackId,
    /// Whether frames towards the root were cut off.
    pub truncated: bool,
    /// What it begins with; `None` for a stack that is recorded from its root on.
    pub base: Option<RecordBase>,
    words: &'a [AtomicU64],
}

/// The outer part of a stack that another one, recorded earlier by the same thread, has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordBase {
    /// The other stack.
    pub id: StackId,
    /// How many of its innermost frames are not part of this one.
    pub drop: u16,
}

/// What is to be recorded of a stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outline {
    pub(crate) base: Option<RecordBase>,
    /// Frames beyond the base.
    pub(crate) new: usize,
    pub(crate) truncated: bool,
}

impl Outline {
    fn words(&self) -> usize {
        1 + usize::from(self.base.is_some()) + self.new
    }
}

const TRUNCATED: u64 = 1 << 24;
const HAS_BASE: u64 = 1 << 25;

/// An instruction pointer as records and hashes have it, in one word: user addresses have 47 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedIp {
    /// The instruction pointer.
    pub ip: u64,
    /// The number of the module that it lies in, if that may be unloaded; 0 otherwise.
    pub generation: u16,
}

impl RecordedIp {
    const ADDRESS_BITS: u32 = 48;

    /// The word.
    #[inline]
    pub(crate) fn word(self) -> u64 {
        self.ip | u64::from(self.generation) << Self::ADDRESS_BITS
    }
}

impl From<u64> for RecordedIp {
    #[inline]
    fn from(word: u64) -> Self {
        let generation = (word >> Self::ADDRESS_BITS) as u16;
        Self { ip: word & ((1 << Self::ADDRESS_BITS) - 1), generation }
    }
}

impl Record<'_> {
    /// Instruction pointers beyond the base, leaf first, as words of [`RecordedIp`].
    pub fn ips(&self) -> impl DoubleEndedIterator<Item = u64> + ExactSizeIterator + '_ {
        // Relaxed: ordered by `written`, which the consumer has read with Acquire.
        self.words.iter().map(|word| word.load(Ordering::Relaxed))
    }
}

/// Room for one record at the end of a ring.
pub(crate) struct Room {
    segment: &'static Segment,
    outline: Outline,
    /// Whether the ring has come to hold [`DRAIN_FROM_BYTES`], or half its budget, or all of them half of theirs, and
    /// wants to be drained.
    pub(crate) wants_drain: bool,
}

impl Room {
    /// Writes the record that room was made for, and publishes it.
    pub(crate) fn fill(self, id: StackId, leaf_first: impl Iterator<Item = u64>) {
        let Outline { base, new, truncated } = self.outline;
        let start = self.segment.written.load(Ordering::Relaxed) as usize;
        let end = start + self.outline.words();
        let drop = base.map_or(0, |base| base.drop);
        let flags = if truncated { TRUNCATED } else { 0 } | if base.is_some() { HAS_BASE } else { 0 };
        let header = u64::from(drop) << 48 | (new as u64) << 32 | flags | id.index() as u64;
        let base = base.map(|base| base.id.index() as u64);
        let content = [header].into_iter().chain(base).chain(leaf_first);
        for (slot, word) in self.segment.words[start..end].iter().zip(content) {
            slot.store(word, Ordering::Relaxed);
        }
        // Release: pairs with the Acquire in `drain_segment`.
        self.segment.written.store(end as u32, Ordering::Release);
    }
}

/// See the module's head. Zeroed memory is a ring without segments.
pub(crate) struct Ring {
    /// Number of the segment the consumer reads, 0 before the first record.
    head: AtomicU32,
    /// Number of the segment the producer writes, 0 before the first record.
    tail: AtomicU32,
    /// Segments in the chain: the producer adds, the consumer subtracts.
    length: AtomicU32,
}

impl Ring {
    /// Makes room for a record. Only the owning thread calls this, never re-entrantly.
    pub(crate) fn reserve(
        &self,
        outline: Outline,
        extent: Extent,
        budget_bytes: usize,
        pool: &SegmentPool,
        arena: &Arena,
    ) -> Result<Room, RingFull> {
        let words = outline.words();
        // Also where the last segment has room: that was perhaps made for short records.
        let length = self.length.load(Ordering::Relaxed) as usize;
        if length * SEGMENT_BYTES > within(extent, budget_bytes)
            || pool.in_use_bytes() > within(extent, pool.limit_bytes())
        {
            return Err(RingFull);
        }
        let segment = match pool.segment(self.tail.load(Ordering::Relaxed)) {
            Some(tail) if tail.written.load(Ordering::Relaxed) as usize + words <= SEGMENT_WORDS => tail,
            tail => self.extend(tail, extent, budget_bytes, pool, arena)?,
        };
        let length_bytes = self.length.load(Ordering::Relaxed) as usize * SEGMENT_BYTES;
        let wants_drain =
            length_bytes > DRAIN_FROM_BYTES.min(budget_bytes / 2) || pool.in_use_bytes() > pool.limit_bytes() / 2;
        Ok(Room { segment, outline, wants_drain })
    }

    fn extend(
        &self,
        tail: Option<&Segment>,
        extent: Extent,
        budget_bytes: usize,
        pool: &SegmentPool,
        arena: &Arena,
    ) -> Result<&'static Segment, RingFull> {
        let length = self.length.load(Ordering::Relaxed) as usize;
        if (length + 1) * SEGMENT_BYTES > within(extent, budget_bytes) {
            return Err(RingFull);
        }
        let fresh = pool.take(extent, arena).ok_or(RingFull)?;
        let number = fresh.number.load(Ordering::Relaxed);
        self.length.fetch_add(1, Ordering::Relaxed);
        // Release, on either: pairs with the Acquire in `drain`; the emptied segment is visible with its number.
        match tail {
            Some(tail) => tail.next.store(number, Ordering::Release),
            None => self.head.store(number, Ordering::Release),
        }
        self.tail.store(number, Ordering::Relaxed);
        Ok(fresh)
    }

    /// Hands every record to `store`, in order, that was there when it was called, and perhaps some that came later: who
    /// writes as fast as this reads is not waited for. One caller at a time, who holds the right to drain.
    pub(crate) fn drain(&self, pool: &SegmentPool, arena: &Arena, mut store: impl FnMut(Record<'_>)) {
        // Relaxed: a record that the caller knows of lies in this segment or before it. It is in the chain, which only the
        // caller shortens, and so nobody uses its number again before it is reached.
        let last = self.tail.load(Ordering::Relaxed);
        while let Some(segment) = pool.segment(self.head.load(Ordering::Acquire)) {
            // `next` before `written`: if there is a next segment, nothing more will be written here.
            let next = segment.next.load(Ordering::Acquire);
            Self::drain_segment(segment, &mut store);
            if next == 0 {
                return;
            }
            let is_last = segment.number.load(Ordering::Relaxed) == last;
            // Before the head: a child that is forked in between counts one segment too few, not too many for ever.
            self.length.fetch_sub(1, Ordering::Relaxed);
            // Release: a consumer in a forked child sees the new head with everything before it stored.
            self.head.store(next, Ordering::Release);
            pool.give_back(segment, arena);
            if is_last {
                return;
            }
        }
    }

    fn drain_segment(segment: &Segment, store: &mut impl FnMut(Record<'_>)) {
        let mut read = segment.read.load(Ordering::Relaxed) as usize;
        // Acquire: pairs with the Release in `fill`.
        let written = segment.written.load(Ordering::Acquire) as usize;
        while read < written {
            let header = segment.words[read].load(Ordering::Relaxed);
            let base = (header & HAS_BASE != 0).then(|| RecordBase {
                id: StackId::new(segment.words[read + 1].load(Ordering::Relaxed) as u32),
                drop: (header >> 48) as u16,
            });
            let begin = read + 1 + usize::from(base.is_some());
            let end = begin + usize::from((header >> 32) as u16);
            let (id, words) = (StackId::new(header as u32), &segment.words[begin..end]);
            store(Record { id, truncated: header & TRUNCATED != 0, base, words });
            read = end;
            // Release: after the record is in the store.
            segment.read.store(read as u32, Ordering::Release);
        }
    }
}

// SAFETY: atomic words; all zero is a ring without segments.
unsafe impl Zeroed for Ring {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const BUDGET_BYTES: usize = 4 * SEGMENT_BYTES;

    fn ring() -> (&'static Ring, SegmentPool, Arena) {
        let (arena, pool) = (Arena::new(), SegmentPool::new());
        pool.set_limit_bytes(2 * BUDGET_BYTES);
        (arena.one::<Ring>().unwrap(), pool, arena)
    }

    /// `Ok` says whether the ring wants to be drained.
    fn push(
        ring: &Ring,
        pool: &SegmentPool,
        arena: &Arena,
        id: usize,
        truncated: bool,
        ips: &[usize],
    ) -> Result<bool, RingFull> {
        push_as(Extent::Short, ring, pool, arena, id, truncated, ips)
    }

    fn push_as(
        extent: Extent,
        ring: &Ring,
        pool: &SegmentPool,
        arena: &Arena,
        id: usize,
        truncated: bool,
        ips: &[usize],
    ) -> Result<bool, RingFull> {
        let outline = Outline { base: None, new: ips.len(), truncated };
        let room = ring.reserve(outline, extent, BUDGET_BYTES, pool, arena)?;
        let wants_drain = room.wants_drain;
        room.fill(StackId::new(id as u32), ips.iter().map(|&ip| ip as u64));
        Ok(wants_drain)
    }

    fn drain_all(ring: &Ring, pool: &SegmentPool, arena: &Arena) -> Vec<(usize, bool, Vec<u64>)> {
        let mut records = Vec::new();
        ring.drain(pool, arena, |record| records.push((record.id.index(), record.truncated, record.ips().collect())));
        records
    }

    #[test]
    fn records_come_out_once_and_in_order() {
        let (ring, pool, arena) = ring();
        assert_eq!(push(ring, &pool, &arena, 16, false, &[1, 2, 3]), Ok(false));
        assert_eq!(push(ring, &pool, &arena, 17, true, &[4]), Ok(false));
        assert_eq!(drain_all(ring, &pool, &arena), [(16, false, vec![1, 2, 3]), (17, true, vec![4])]);
        assert_eq!(drain_all(ring, &pool, &arena), []);
    }

    #[test]
    fn a_record_names_what_it_begins_with() {
        let (ring, pool, arena) = ring();
        push(ring, &pool, &arena, 16, false, &[3, 2, 1]).unwrap();
        let base = Some(RecordBase { id: StackId::FIRST_REAL, drop: 2 });
        let outline = Outline { base, new: 1, truncated: true };
        let room = ring.reserve(outline, Extent::Full, BUDGET_BYTES, &pool, &arena).unwrap();
        room.fill(StackId::new(17), [4].into_iter());
        push(ring, &pool, &arena, 18, false, &[9]).unwrap();
        let mut records = Vec::new();
        ring.drain(&pool, &arena, |record| {
            records.push((record.id.index(), record.truncated, record.base, record.ips().collect::<Vec<_>>()));
        });
        assert_eq!(records, [(16, false, None, vec![3, 2, 1]), (17, true, base, vec![4]), (18, false, None, vec![9])]);
    }

    #[test]
    fn a_full_ring_refuses_and_goes_on_after_the_drain() {
        let (ring, pool, arena) = ring();
        let deep: Vec<usize> = (0..MAX_DEPTH).collect();
        // One record of 513 words fits a segment of 1021: four segments take four.
        for id in 16..20 {
            let half = push(ring, &pool, &arena, id, false, &deep).unwrap();
            assert_eq!(half, id >= 18, "id {id}");
        }
        assert_eq!(push(ring, &pool, &arena, 20, false, &deep), Err(RingFull));
        assert_eq!(drain_all(ring, &pool, &arena).len(), 4);
        assert!(push(ring, &pool, &arena, 20, false, &deep).is_ok());
        assert_eq!(drain_all(ring, &pool, &arena)[0].0, 20);
        // Four segments were ever made: drained ones are used again.
        assert_eq!(pool.bytes(), BUDGET_BYTES);
    }

    #[test]
    fn a_drain_ends_where_the_ring_did_when_it_began() {
        let (ring, pool, arena) = ring();
        let deep: Vec<usize> = (0..MAX_DEPTH).collect();
        // A segment each.
        for id in 16..18 {
            push(ring, &pool, &arena, id, false, &deep).unwrap();
        }
        let mut drained = 0;
        ring.drain(&pool, &arena, |_| {
            drained += 1;
            assert!(drained <= 2, "a producer who is as fast is drained for ever");
            push(ring, &pool, &arena, 18, false, &deep).unwrap();
        });
        assert_eq!(drained, 2);
        assert_eq!(drain_all(ring, &pool, &arena).len(), 2);
    }

    #[test]
    fn whole_stacks_leave_a_quarter_to_short_ones() {
        let (ring, pool, arena) = ring();
        let deep: Vec<usize> = (0..MAX_DEPTH).collect();
        for id in 16..19 {
            assert!(push_as(Extent::Full, ring, &pool, &arena, id, false, &deep).is_ok());
        }
        assert_eq!(push_as(Extent::Full, ring, &pool, &arena, 19, false, &deep), Err(RingFull));
        assert!(push_as(Extent::Short, ring, &pool, &arena, 19, true, &deep).is_ok());
        // The last segment has room, which is not for them.
        assert_eq!(push_as(Extent::Full, ring, &pool, &arena, 20, false, &[1]), Err(RingFull));
        assert!(push_as(Extent::Short, ring, &pool, &arena, 20, true, &[1]).is_ok());
        assert_eq!(push_as(Extent::Short, ring, &pool, &arena, 21, true, &deep), Err(RingFull));
    }

    #[test]
    fn rings_share_a_budget_and_give_back_to_it() {
        let (first, pool, arena) = ring();
        let [second, third] = [(); 2].map(|()| arena.one::<Ring>().unwrap());
        let deep: Vec<usize> = (0..MAX_DEPTH).collect();
        // Eight segments in all, of which whole stacks may fill six.
        for ring in [first, second] {
            assert_eq!((0..4).filter(|_| push(ring, &pool, &arena, 16, false, &deep).is_ok()).count(), 4);
        }
        assert_eq!(push(third, &pool, &arena, 17, false, &[1]), Err(RingFull));
        // All but the segment that the owner writes.
        assert_eq!(drain_all(first, &pool, &arena).len(), 4);
        assert!(push_as(Extent::Full, third, &pool, &arena, 17, false, &deep).is_ok());
        assert_eq!(push_as(Extent::Full, third, &pool, &arena, 18, false, &deep), Err(RingFull));
        assert!(push(third, &pool, &arena, 18, false, &deep).is_ok());
        assert_eq!(pool.bytes(), 2 * BUDGET_BYTES);
    }

    #[test]
    fn a_consumer_beside_the_producer_sees_every_record_once() {
        let (ring, pool, arena) = ring();
        let mut seen = Vec::new();
        std::thread::scope(|scope| {
            let producer = scope.spawn(|| {
                for index in 0..50_000_u32 {
                    let ips = [index as usize; 7];
                    let depth = index as usize % 8;
                    while push(ring, &pool, &arena, index as usize, false, &ips[..depth]).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            while seen.len() < 50_000 {
                ring.drain(&pool, &arena, |record| {
                    let index = record.id.index();
                    assert!(record.ips().len() == index % 8 && record.ips().all(|ip| ip == index as u64));
                    seen.push(index);
                });
            }
            producer.join().unwrap();
        });
        assert!(seen.iter().enumerate().all(|(position, &index)| position == index));
    }
}
