//! Every record that was pushed is drained once and whole, while its ring grows, and while it changes hands.

extern crate std;

use std::vec::Vec;

use super::fault::Instead::{Nothing, Relaxed};
use super::fault::fault;
use super::{Model, all_three, both, leak};
use crate::arena::Arena;
use crate::mode::ModeCell;
use crate::registry::Registry;
use crate::ring::{Outline, Ring};
use crate::segment_pool::{SEGMENT_BYTES, SEGMENT_WORDS, SegmentPool};
use crate::stack_id::StackId;
use crate::stack_table::Extent;

/// A record of two words: a segment has room for two of them.
fn push(ring: &Ring, id: u32, pool: &SegmentPool, arena: &Arena) {
    const { assert!(SEGMENT_WORDS == 4) };
    let outline = Outline { base: None, new: 1, truncated: false };
    let room = ring.reserve(outline, Extent::Short, 8 * SEGMENT_BYTES, pool, arena).expect("room");
    room.fill(StackId::new(id), [10 * u64::from(id)].into_iter());
}

fn drain(ring: &Ring, pool: &SegmentPool, arena: &Arena, drained: &mut Vec<usize>) {
    ring.drain(pool, arena, |record| {
        assert!(record.ips().eq([10 * record.id.index() as u64]), "a record that is not whole");
        drained.push(record.id.index());
    });
}

fn memory() -> (&'static Arena, &'static SegmentPool) {
    let (arena, pool) = (leak(Arena::new()), leak(SegmentPool::new()));
    pool.set_limit_bytes(16 * SEGMENT_BYTES);
    (arena, pool)
}

/// A ring whose first segment was drained and given back, so that the second one, with a record in it, is its only one: one
/// thread pushes four records. The ring grows by the first segment and by another, which is the second one again if that was
/// drained meanwhile. Another thread drains, once beside it and once after it.
const GROWS: Model = Model::new(|| {
    let (arena, pool) = memory();
    let ring: &'static Ring = arena.one().expect("memory");
    let mut drained = Vec::new();
    (16..19).for_each(|id| push(ring, id, pool, arena));
    drain(ring, pool, arena, &mut drained);
    let pushes = move || (19..23).for_each(|id| push(ring, id, pool, arena));
    let ((), mut drained) = both(pushes, move || {
        drain(ring, pool, arena, &mut drained);
        drained
    });
    drain(ring, pool, arena, &mut drained);
    assert_eq!(drained, [16, 17, 18, 19, 20, 21, 22]);
    assert_eq!(pool.in_use_bytes(), SEGMENT_BYTES, "all but the one that is written");
})
.with_preemptions(3);

/// A thread with a state in which there is one record already pushes two more and hands the state over; another one gets
/// it, or a fresh one, and pushes two. A third drains, beside them and after them.
const CHANGES_HANDS: Model = Model::new(|| {
    let (arena, pool) = memory();
    let (registry, mode): (&'static Registry, &'static ModeCell) = (leak(Registry::new()), leak(ModeCell::new()));
    let first = registry.acquire(arena, mode).expect("a state");
    registry.own(first);
    push(&first.ring, 16, pool, arena);
    // So that the list of free states has memory, which would order what it is to order.
    registry.release(first, arena);
    let first = registry.acquire(arena, mode).expect("a state");
    registry.own(first);
    let ends = move || {
        push(&first.ring, 17, pool, arena);
        push(&first.ring, 18, pool, arena);
        registry.release(first, arena);
    };
    let begins = move || {
        let state = registry.acquire(arena, mode).expect("a state");
        registry.own(state);
        push(&state.ring, 19, pool, arena);
        push(&state.ring, 20, pool, arena);
    };
    let drain_all =
        |drained: &mut Vec<usize>| registry.iter().for_each(|state| drain(&state.ring, pool, arena, drained));
    let ((), (), mut drained) = all_three(ends, begins, move || {
        let mut drained = Vec::new();
        drain_all(&mut drained);
        drained
    });
    drain_all(&mut drained);
    drained.sort_unstable();
    assert_eq!(drained, [16, 17, 18, 19, 20]);
})
.with_preemptions(2);

#[test]
fn every_record_is_drained_once_and_whole_while_the_ring_grows() {
    GROWS.holds();
    GROWS.fails_with(fault!("ring.rs", "fn fill", "written.store", Relaxed));
    GROWS.fails_with(fault!("ring.rs", "fn drain_segment", "written.load", Relaxed));
    GROWS.fails_with(fault!("ring.rs", "Some(tail) =>", "next.store", Relaxed));
    GROWS.fails_with(fault!("ring.rs", "fn drain(", "next.load", Relaxed));
    // What makes a segment that was drained one that can be filled.
    GROWS.fails_with(fault!("free_list.rs", "fn push", ".compare_exchange_weak", Relaxed));
    GROWS.fails_with(fault!("segment_pool.rs", "fn reuse_or_make", "written.store", Nothing));
    GROWS.fails_with(fault!("segment_pool.rs", "fn reuse_or_make", "next.store", Nothing));
    GROWS.fails_with(fault!("ring.rs", "segment.words[start..end]", "slot.store", Nothing));
    GROWS.fails_with(fault!("ring.rs", "read = end", "read.store", Nothing));
}

#[test]
fn a_ring_that_changes_hands_in_the_middle_of_a_drain_loses_nothing() {
    CHANGES_HANDS.holds();
    CHANGES_HANDS.fails_with(fault!("free_list.rs", "fn push", ".compare_exchange_weak", Relaxed));
    CHANGES_HANDS.fails_with(fault!("ring.rs", "self.length.fetch_add", "tail.store", Nothing));
}
