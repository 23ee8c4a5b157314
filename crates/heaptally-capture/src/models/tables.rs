//! Tables that are only inserted into: what is found in them is whole.

extern crate std;

use std::vec::Vec;

use super::fault::Instead::{Nothing, Relaxed, Torn};
use super::fault::fault;
use super::{Model, both, leak};
use crate::arena::Arena;
use crate::lazy_table::LazyTable;
use crate::ring::{Outline, Ring};
use crate::segment_pool::{SEGMENT_BYTES, SegmentPool};
use crate::shared_lines::SharedLines;
use crate::stack_hash::StackHash;
use crate::stack_id::StackId;
use crate::stack_table::{Extent, StackTable};
use crate::sync::{AtomicU64, Ordering};
use crate::unwind::Rule;
use crate::unwind::rule_table::{RuleKey, RuleTable};

/// Two threads add to the same element and to another one of its block, which neither has memory for yet.
const ONE_BLOCK: Model = Model::new(|| {
    let (arena, table): (&'static Arena, &'static LazyTable<AtomicU64, 2, 2>) =
        (leak(Arena::new()), leak(LazyTable::new()));
    let add = move |index| {
        for index in [0, index] {
            table.get_or_map(index, arena).expect("memory").fetch_add(1, Ordering::Relaxed);
        }
    };
    let value = |index| table.get(index).map_or(0, |element| element.load(Ordering::Relaxed));
    let (seen, ()) = both(
        move || {
            // In memory that it did not map itself.
            let seen = value(1);
            add(0);
            seen
        },
        move || add(1),
    );
    assert_eq!((value(0), value(1)), (3, 1));
    assert!(seen <= 1 && table.get(2).is_none());
});

#[test]
fn threads_that_want_a_block_at_once_share_one() {
    ONE_BLOCK.holds();
    ONE_BLOCK.fails_with(fault!("lazy_table.rs", "fn map_block", ".compare_exchange", Relaxed));
    ONE_BLOCK.fails_with(fault!("lazy_table.rs", "pub fn get(", ".load", Relaxed));
    ONE_BLOCK.fails_with(fault!("lazy_table.rs", "fn map_block", ".compare_exchange", Torn));
}

struct Stacks {
    arena: Arena,
    table: StackTable,
    shared: SharedLines,
    pool: SegmentPool,
}

static STACKS: Stacks =
    Stacks { arena: Arena::new(), table: StackTable::new(), shared: SharedLines::new(), pool: SegmentPool::new() };

impl Stacks {
    /// Two rings.
    fn begin(&self) -> [&'static Ring; 2] {
        self.table.set_limits(4, 4);
        self.pool.set_limit_bytes(16 * SEGMENT_BYTES);
        [(); 2].map(|()| self.arena.one().expect("memory"))
    }

    /// As `find_or_record` and `publish` of `recording.rs`: found, or recorded, in the ring of the calling thread.
    fn id_of(&self, hash: StackHash, ring: &Ring) -> StackId {
        if let Some(id) = self.table.find(hash) {
            return id;
        }
        let outline = Outline { base: None, new: 0, truncated: false };
        let room = ring.reserve(outline, Extent::Full, 8 * SEGMENT_BYTES, &self.pool, &self.arena).expect("room");
        let prepare = |id| self.shared.prepare(id, &self.arena);
        let own = self.table.issue(hash, Extent::Full, &self.arena, prepare).expect("an id");
        room.fill(own, core::iter::empty());
        self.table.insert(hash, own, &self.arena)
    }

    /// The ids in the rings, as a snapshot reads them: after it has read the ids in rows.
    fn drained(&self, rings: [&Ring; 2]) -> Vec<StackId> {
        let mut ids = Vec::new();
        for ring in rings {
            ring.drain(&self.pool, &self.arena, |record| ids.push(record.id));
        }
        ids
    }
}

const HASH: StackHash = StackHash { a: 1 << 40, b: 3 << 40 };
/// Of other stacks that go to the same slots.
const THIRD: StackHash = StackHash { a: 4 << 40, b: 7 << 40 };
const OTHER: StackHash = StackHash { a: 2 << 40, b: 5 << 40 };

/// Two threads meet the same stack at once. One of them is a snapshot, too, which drains after it has got the id.
const ONE_STACK: Model = Model::new(|| {
    let stacks = &STACKS;
    let rings = stacks.begin();
    // Memory for the first level, which one of them would order by mapping it.
    stacks.id_of(OTHER, rings[0]);
    let (first, (second, drained)) = both(
        move || stacks.id_of(HASH, rings[0]),
        move || {
            let newest = StackId::new(stacks.table.issued() - 1);
            assert!(stacks.shared.line(newest).is_some(), "an id without a line");
            let second = stacks.id_of(HASH, rings[1]);
            let drained = stacks.drained(rings);
            assert!(drained.contains(&second), "an id without a record");
            (second, drained)
        },
    );
    let drained = [drained, stacks.drained(rings)].concat();
    let known = stacks.table.find(HASH).expect("inserted");
    assert!([first, second, known].iter().all(|id| drained.contains(id)), "an id without a record");
    assert_eq!(drained.len(), (stacks.table.issued() - 16) as usize, "each record once");
    // From now on all get the same.
    assert_eq!(rings.map(|ring| stacks.id_of(HASH, ring)), [known; 2]);
})
.with_preemptions(2);

#[test]
fn an_id_that_anybody_sees_has_its_record_and_its_line() {
    ONE_STACK.holds();
    ONE_STACK.fails_with(fault!("stack_table.rs", "fn insert_at", "b_and_id.store", Relaxed));
    ONE_STACK.fails_with(fault!("stack_table.rs", "fn id_in", "b_and_id.load", Relaxed));
    ONE_STACK.fails_with(fault!("stack_table.rs", "fn issue(", ".compare_exchange", Torn));
}

/// A table whose first level is full. One thread inserts another stack, for which there is another level; another one
/// looks up the first stack meanwhile, which may move it there, and the other, and inserts a third.
const GROWS: Model = Model::new(|| {
    let stacks = &STACKS;
    let rings = stacks.begin();
    let first = stacks.id_of(HASH, rings[0]);
    let inserts = move || stacks.id_of(OTHER, rings[0]);
    let (second, third) = both(inserts, move || {
        assert_eq!(stacks.table.find(HASH), Some(first), "the old level is still looked at");
        let found = stacks.table.find(OTHER);
        let drained = stacks.drained(rings);
        assert!(found.is_none_or(|id| drained.contains(&id)), "an id without a record");
        stacks.id_of(THIRD, rings[1])
    });
    let ids = [first, second, third];
    assert_eq!([HASH, OTHER, THIRD].map(|hash| stacks.table.find(hash)), ids.map(Some));
})
.with_preemptions(2);

#[test]
fn a_stack_is_found_while_the_table_grows() {
    GROWS.holds();
    GROWS.fails_with(fault!("levels.rs", "fn map(", ".compare_exchange", Relaxed));
    GROWS.fails_with(fault!("levels.rs", "fn slot(", ".load", Relaxed));
    GROWS.fails_with(fault!("stack_table.rs", "fn insert_at", "b_and_id.store", Relaxed));
    GROWS.fails_with(fault!("stack_table.rs", "fn insert_at", ".compare_exchange", Torn));
}

/// Two threads insert the rules of two call sites that go to the same slots, and one of them looks up all.
const RULES: Model = Model::new(|| {
    let (arena, table): (&'static Arena, &'static RuleTable) = (leak(Arena::new()), leak(RuleTable::new()));
    let key = |n: u64| RuleKey::new(0x1000 + n, false, 0);
    let rule = |n: u64| Rule::from_word(10 * n);
    // Memory for a first level, and then for the second: the first one is full.
    table.insert(key(0), rule(0), arena);
    table.insert(key(1), rule(1), arena);
    let insert = move |n| table.insert(key(n), rule(n), arena);
    both(
        move || insert(2),
        move || {
            let is_whole = |n| table.find(key(n)).is_none_or(|found| found == rule(n));
            assert!(is_whole(2), "somebody else's rule, or none");
            insert(3);
            assert!([2, 3, 0].into_iter().all(is_whole), "somebody else's rule, or none");
        },
    );
    assert!((0..4).all(|n| table.find(key(n)) == Some(rule(n))));
})
.with_preemptions(2);

#[test]
fn a_rule_that_is_found_is_that_of_its_call_site() {
    RULES.holds();
    RULES.fails_with(fault!("unwind/rule_table.rs", "fn insert_at", "key.store", Relaxed));
    RULES.fails_with(fault!("unwind/rule_table.rs", "fn probe", "key.load", Relaxed));
    RULES.fails_with(fault!("unwind/rule_table.rs", "fn find(", "key.load", Relaxed));
    RULES.fails_with(fault!("unwind/rule_table.rs", "fn insert_at", ".compare_exchange", Torn));
    RULES.fails_with(fault!("unwind/rule_table.rs", "fn insert_at", "rule.store", Nothing));
}
