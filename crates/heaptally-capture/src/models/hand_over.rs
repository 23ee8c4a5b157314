//! States that go from thread to thread: one owner at a time, who sees what the last one counted; and snapshots charge no
//! owner's counts to another.

extern crate std;

use super::fault::Instead::{Nothing, Relaxed, Storing, Torn};
use super::fault::fault;
use super::{Model, all_three, both, leak};
use crate::arena::Arena;
use crate::census;
use crate::free_list::FreeList;
use crate::mode::ModeCell;
use crate::process::PROCESS;
use crate::registry::Registry;
use crate::sync::{AtomicU32, Ordering};
use crate::thread_state::ThreadState;

/// Two indices are on the list. One thread takes one. Another takes both and gives the first one back: the list looks as it
/// did, but what is below its head is not on it any more.
const NO_INDEX_TWICE: Model = Model::new(|| {
    let (arena, list): (&'static Arena, &'static FreeList<1, 2>) = (leak(Arena::new()), leak(FreeList::new()));
    let held: &'static [AtomicU32; 2] = leak([const { AtomicU32::new(0) }; 2]);
    let take = move || {
        let index = list.pop()?;
        assert_eq!(held[index as usize].swap(1, Ordering::Relaxed), 0, "held twice");
        Some(index)
    };
    let give = move |index: u32| {
        held[index as usize].store(0, Ordering::Relaxed);
        assert!(list.push(index, arena));
    };
    assert!(list.push(0, arena) && list.push(1, arena));
    both(take, move || {
        let (first, second) = (take(), take());
        first.into_iter().for_each(give);
        second
    });
    while take().is_some() {}
    assert!(held.iter().all(|held| held.load(Ordering::Relaxed) == 1), "an index is lost");
});

/// As above, and the other one gives both back, in the order in which it took them: links change under who reads them.
const NO_LINK_TOO_OLD: Model = Model::new(|| {
    let (arena, list): (&'static Arena, &'static FreeList<1, 4>) = (leak(Arena::new()), leak(FreeList::new()));
    (0..3).for_each(|index| assert!(list.push(index, arena)));
    let pop = move || list.pop();
    let (taken, ()) = both(pop, move || {
        let taken = [pop(), pop()];
        taken.into_iter().flatten().for_each(|index| assert!(list.push(index, arena)));
    });
    let mut seen = [0; 4];
    taken.into_iter().chain(core::iter::from_fn(pop)).for_each(|index| seen[index as usize] += 1);
    assert_eq!(seen, [1, 1, 1, 0], "each index once");
});

#[test]
fn no_index_of_a_free_list_is_held_twice_or_lost() {
    NO_INDEX_TWICE.holds();
    fn without_version(word: u64) -> u64 {
        word & 0xFFFF_FFFF
    }
    NO_INDEX_TWICE.fails_with(fault!("free_list.rs", "fn push", ".compare_exchange_weak", Storing(without_version)));
    NO_INDEX_TWICE.fails_with(fault!("free_list.rs", "fn pop", ".compare_exchange_weak", Torn));
    NO_LINK_TOO_OLD.holds();
    NO_LINK_TOO_OLD.fails_with(fault!("free_list.rs", "fn push", "link.store", Nothing));
    NO_LINK_TOO_OLD.fails_with(fault!("free_list.rs", "fn push", ".compare_exchange_weak", Relaxed));
    NO_LINK_TOO_OLD.fails_with(fault!("free_list.rs", "fn pop", "head.load", Relaxed));
}

/// Two threads begin, count and end, while a state is free: they get it one after the other, or a second one.
const ONE_OWNER: Model = Model::new(|| {
    let (arena, mode): (&'static Arena, &'static ModeCell) = (leak(Arena::new()), leak(ModeCell::new()));
    let registry: &'static Registry = leak(Registry::new());
    let first = registry.acquire(arena, mode).expect("a state");
    registry.own(first);
    registry.release(first, arena);
    let live = move || {
        let state = registry.acquire(arena, mode).expect("a state");
        registry.own(state);
        // A load and a store each: two owners at once would lose some.
        state.tracked.count_allocated(1);
        assert_eq!(state.counted()[0] - state.owner.base()[0], 1, "what it counted itself");
        registry.release(state, arena);
    };
    both(live, live);
    live();
    assert_eq!(registry.iter().map(|state| state.counted()[0]).sum::<u64>(), 3);
})
.with_preemptions(3);

/// A thread creates a state while another one walks all there are.
const CREATED: Model = Model::new(|| {
    let (arena, mode): (&'static Arena, &'static ModeCell) = (leak(Arena::new()), leak(ModeCell::new()));
    let registry: &'static Registry = leak(Registry::new());
    registry.acquire(arena, mode).expect("a state");
    let creates = move || registry.acquire(arena, mode).is_some();
    both(creates, move || {
        let mut numbers = registry.iter().map(|state| state.index.load(Ordering::Relaxed));
        assert!(numbers.next() == Some(0) && numbers.next().is_none_or(|number| number == 1), "a state half made");
    });
});

#[test]
fn a_state_has_one_owner_at_a_time_who_sees_what_the_last_one_counted() {
    ONE_OWNER.holds();
    ONE_OWNER.fails_with(fault!("free_list.rs", "fn push", ".compare_exchange_weak", Relaxed));
    ONE_OWNER.fails_with(fault!("free_list.rs", "fn pop", ".compare_exchange_weak", Torn));
}

#[test]
fn a_state_that_is_found_is_whole() {
    CREATED.holds();
    CREATED.fails_with(fault!("registry.rs", "pairs with the Acquire in `iter`", "slot.store", Relaxed));
    CREATED.fails_with(fault!("registry.rs", "pairs with the Release in `create`", "?.load", Relaxed));
}

/// A thread that has counted one block of one byte ends; another takes its state, if it is offered yet, and counts one of a
/// hundred. A snapshot of the state, as `census::threads` makes it, puts them down to the one, the other, or nobody.
///
/// As `Registry::release`, `acquire` and `own` do it, but without another state, and without its ring and scratch memory.
const WHOSE_COUNTS: Model = Model::new(|| {
    let (arena, free): (&'static Arena, &'static FreeList<1, 1>) = (leak(Arena::new()), leak(FreeList::new()));
    let state: &'static ThreadState = arena.one().expect("memory");
    // So that the list has memory.
    assert!(free.push(0, arena) && free.pop().is_some());
    let count = move |bytes| {
        state.owner.set_base(state.counted());
        state.owner.begin();
        state.tracked.count_allocated(bytes);
    };
    count(1);
    let first = state.owner.now();
    let ends = move || {
        state.owner.end();
        assert!(free.push(0, arena));
    };
    let begins = move || {
        if free.pop().is_some() {
            count(100);
        }
    };
    let ((), (), read) = all_three(ends, begins, move || {
        let term = state.owner.now();
        let (base, counted) = (state.owner.base(), state.counted());
        let is_owned = term.thread_id() != 0 && state.owner.is_still(term);
        let words: [u64; 4] = core::array::from_fn(|word| counted[word].wrapping_sub(base[word]));
        is_owned.then_some((term, words))
    });
    match read {
        Some((term, words)) if term == first => assert_eq!(words, [1, 1, 0, 0], "of the first owner"),
        Some((_, [blocks, bytes, 0, 0])) => assert!(blocks <= 1 && [0, 100].contains(&bytes), "{bytes} of the second"),
        Some((_, words)) => panic!("{words:?} of the second"),
        None => {}
    }
})
.with_preemptions(3);

/// As above, of the registry: one thread has a state twice, and the rows of a snapshot, with the others, are no more than
/// the totals.
const ROWS_OF_THREADS: Model = Model::new(|| {
    let acquire = || {
        let state = PROCESS.registry.acquire(&PROCESS.arena, &PROCESS.mode).expect("a state");
        PROCESS.registry.own(state);
        state
    };
    let live = move || {
        let state = acquire();
        state.tracked.count_allocated(1);
        PROCESS.registry.release(state, &PROCESS.arena);
    };
    live();
    // The second state is a new one.
    let first = acquire();
    let lives = move || {
        live();
        live();
    };
    let ((), (row, totals)) = both(lives, || {
        let mut sum = [0; 4];
        let others = census::threads(|row| {
            assert!(row.state < 2 && row.words[0] <= 1 && row.words[1] <= 1, "{row:?}");
            sum = core::array::from_fn(|word| sum[word] + row.words[word]);
        });
        let all: [u64; 4] = core::array::from_fn(|word| sum[word] + others[word]);
        (all, census::totals())
    });
    assert!(row.iter().zip(totals).all(|(&row, total)| row <= total), "{row:?} of {totals:?}");
    assert_eq!((first.counted()[0], census::totals()[0]), (1, 3));
})
.with_preemptions(3);

#[test]
fn no_snapshot_charges_the_counts_of_one_owner_to_another() {
    WHOSE_COUNTS.holds();
    ROWS_OF_THREADS.holds();
    WHOSE_COUNTS.fails_with(fault!("owner.rs", "fn begin_as", ".compare_exchange", Relaxed));
    WHOSE_COUNTS.fails_with(fault!("owner.rs", "fn now", ".load", Relaxed));
    WHOSE_COUNTS.fails_with(fault!("owner.rs", "fn set_base", ".store", Relaxed));
    WHOSE_COUNTS.fails_with(fault!("owner.rs", "fn set_base", ".store", Nothing));
    WHOSE_COUNTS.fails_with(fault!("owner.rs", "fn base", ".load", Relaxed));
    WHOSE_COUNTS.fails_with(fault!("owner.rs", "fn end", "term.store", Nothing));
    WHOSE_COUNTS.fails_with(fault!("counter.rs", "fn add_alone", ".store", Relaxed));
    WHOSE_COUNTS.fails_with(fault!("counter.rs", "pub fn get", ".load", Relaxed));
}
