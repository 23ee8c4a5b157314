//! Reading all counters while everyone goes on counting.
//!
//! Called by whoever takes a snapshot, never from the hook; pauses nobody and changes nothing. The order of the reads
//! is what makes the result true: *freed before allocated, rows before totals*.
//!
//! # Synchronization
//!
//! A free that [`freed_rows`] or [`older_ages`] has read (Acquire) was counted (Release) by a thread that held the block, which reached
//! it after its allocation had been counted. So [`allocated_rows`], called afterwards and reading the registry, the
//! pages and the highest id anew, finds that allocation: no row is negative. A thread counts in its totals before it
//! counts in a row, so [`totals`], called last, is never below the sum of the rows.

use crate::capture_counts::CaptureCounts;
use crate::older_ages::OLDER_AGES;
use crate::owner::Term;
use crate::process::PROCESS;
use crate::ring::Record;
#[cfg(doc)]
use crate::site_line::SiteLine;
use crate::stack_id::StackId;
use crate::sync::Ordering;
use crate::thread_state::{ThreadState, ownership};

/// Visits the blocks of each stack that were freed a tick or more after their birth, by age: see
/// `OlderAges::for_each`. To be read before [`freed_rows`], which then has all of them.
pub fn older_ages(visit: impl FnMut(StackId, [u64; OLDER_AGES])) {
    PROCESS.older_ages.for_each(PROCESS.stacks.issued(), visit);
}

/// Visits what [`SiteLine::freed`] says of every line of every thread; ids come up many times.
pub fn freed_rows(mut visit: impl FnMut(StackId, ([u64; 2], u64, u64))) {
    let issued = PROCESS.stacks.issued();
    for state in PROCESS.registry.iter() {
        // Born in tick 0, all of them.
        visit(StackId::BEFORE_START, (state.head.before_start.freed(), 0, 0));
        state.private.for_each(issued, |id, line| visit(id, line.freed()));
    }
    PROCESS.shared.for_each(issued, |id, line| visit(id, line.freed()));
}

/// Visits what [`SiteLine::allocated`] says of every line of every thread; ids come up many times.
pub fn allocated_rows(mut visit: impl FnMut(StackId, ([u64; 2], u64))) {
    let issued = PROCESS.stacks.issued();
    for state in PROCESS.registry.iter() {
        visit(StackId::BEFORE_START, (state.head.before_start.allocated(), 0));
        state.private.for_each(issued, |id, line| visit(id, line.allocated()));
    }
    PROCESS.shared.for_each(issued, |id, line| visit(id, line.allocated()));
}

/// `[allocated blocks, allocated bytes, freed blocks, freed bytes]` of the process. Freed is read first, so live is
/// never negative.
pub fn totals() -> [u64; 4] {
    let sum = |words: fn(&crate::Line) -> [u64; 2]| {
        let shared = words(&PROCESS.shared_totals);
        PROCESS.registry.iter().fold(shared, |sum, state| add(sum, state.totals(words)))
    };
    let [freed_blocks, freed_bytes] = sum(crate::Line::freed);
    let [allocated_blocks, allocated_bytes] = sum(crate::Line::allocated);
    [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes]
}

/// Bytes that are live of those allocated while tracking was off; below zero where more were freed so than allocated.
pub fn before_start_bytes() -> i64 {
    let sum = |bytes: fn(&crate::Line) -> u64| {
        PROCESS.registry.iter().map(|state| bytes(&state.head.before_start)).fold(0, u64::wrapping_add)
    };
    let freed = sum(|line| line.freed()[1]);
    sum(|line| line.allocated()[1]).wrapping_sub(freed).cast_signed()
}

/// The totals without the blocks that heaptally itself allocated, in the same order.
///
/// Read while heaptally is at rest: between two readings of its row that agree, and with none of its threads between
/// totals and row. Only a thread of the program that gives back one of its blocks, by dropping a snapshot, may have
/// that one free in the totals and not in the row. While heaptally works there may be no such instant; after a few
/// readings, what it did during the last one is left in.
pub fn program() -> [u64; 4] {
    const READINGS: usize = 8;
    let (mut own, mut whole) = (internal(), totals());
    for _ in 0..READINGS {
        // Every reading is Acquire, so they come one after the other. An operation that `totals` has seen has marked its
        // thread as busy before; if the mark is gone, the row has it, and differs.
        let is_at_work = PROCESS.shared_in_flight.any() || PROCESS.registry.iter().any(ThreadState::is_at_work);
        let again = internal();
        if !is_at_work && again == own {
            break;
        }
        (own, whole) = (again, totals());
    }
    core::array::from_fn(|word| whole[word].wrapping_sub(own[word]))
}

/// As [`totals`], of the blocks that heaptally itself allocated: the one row that is asked for by itself.
pub(crate) fn internal() -> [u64; 4] {
    let sum = |words: fn(&crate::Line) -> [u64; 2]| {
        let private = PROCESS.registry.iter().filter_map(|state| state.private.line(StackId::INTERNAL));
        private.chain(PROCESS.shared.line(StackId::INTERNAL)).map(|line| words(&line.line)).fold([0; 2], add)
    };
    let [freed_blocks, freed_bytes] = sum(crate::Line::freed);
    let [allocated_blocks, allocated_bytes] = sum(crate::Line::allocated);
    [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes]
}

/// What one thread has counted with its state since it has it: since it began, or jumped out of the allocator.
#[derive(Clone, Copy, Debug)]
pub struct ThreadCounts {
    /// The number of the state that it has.
    pub state: u32,
    /// Since when it has that one.
    pub term: Term,
    /// `[allocated blocks, allocated bytes, freed blocks, freed bytes]`.
    pub words: [u64; 4],
}

/// Visits every thread that has a state, and returns what else is in the totals, in the same order: what threads have
/// counted that have ended, and what was counted on the shared lines. All together are what [`totals`] would have read.
///
/// A thread that begins or ends at this instant is among the others.
pub fn threads(mut visit: impl FnMut(ThreadCounts)) -> [u64; 4] {
    let mut others = PROCESS.shared_totals.words();
    for state in PROCESS.registry.iter() {
        // Between two looks at the term: see `owner`.
        let term = state.owner.now();
        let (base, counted) = (state.owner.base(), state.counted());
        let is_owned = term.thread_id() != 0 && state.owner.is_still(term);
        let mut of_others = counted;
        if is_owned {
            let words = core::array::from_fn(|word| counted[word].wrapping_sub(base[word]));
            visit(ThreadCounts { state: state.index.load(Ordering::Relaxed), term, words });
            of_others = base;
        }
        others = core::array::from_fn(|word| others[word].wrapping_add(of_others[word]));
    }
    others
}

/// Notes that the calling thread, whose state this is, may be called otherwise by the system: it was in the process that
/// this one was forked from.
pub fn renew(own: &ThreadState) {
    own.owner.renew();
}

/// Hands every stack that is new since the last drain to `store`. One caller at a time. Called after the rows were
/// read, so that every id they name has its record in the store.
pub fn drain(mut store: impl FnMut(Record<'_>)) {
    for state in PROCESS.registry.iter() {
        state.ring.drain(&PROCESS.segments, &PROCESS.arena, &mut store);
    }
}

/// How each thread's stacks were taken.
pub fn captures() -> impl Iterator<Item = &'static CaptureCounts> {
    PROCESS.registry.iter().map(|state| &state.captures)
}

/// Whether some thread was between its totals and its row at this instant. Then equal totals do not mean a quiet
/// point.
pub fn in_flight() -> bool {
    PROCESS.shared_in_flight.any() || PROCESS.registry.iter().any(|state| state.is_busy())
}

/// Puts things right in a forked child, where `survivor` is the only thread, or its state, if it has one. Called from
/// the child handler of `pthread_atfork`: no allocation, no lock.
///
/// States of the threads that are gone can be used again, unless an operation was in progress: those are retired. An
/// operation that had reached the totals and not yet its row never ends in the child; it is taken out of the totals,
/// as if it had not begun. When a signal handler has forked, which may have interrupted an operation of the survivor's
/// own, that one goes on, and how far it is nobody knows: then the totals are corrected at the first quiet point
/// ([`correct`]).
pub fn repair_after_fork(survivor: Option<&ThreadState>) {
    let mut in_flight = PROCESS.shared_in_flight.forget();
    // Without a state it counts on the shared lines.
    let survivor_is_counting = survivor.map_or(in_flight, ThreadState::is_busy);
    for state in PROCESS.registry.iter() {
        if survivor.is_some_and(|own| core::ptr::eq(own, state)) {
            renew(state);
            continue;
        }
        // Also of a thread that was just offering its state.
        state.owner.end();
        if state.is_busy() {
            PROCESS.registry.retire(state);
            in_flight = true;
        } else if state.ownership.load(Ordering::Relaxed) == ownership::OWNED {
            PROCESS.registry.release(state, &PROCESS.arena);
        }
    }
    PROCESS.correction_due.fetch_or(in_flight && survivor_is_counting, Ordering::Relaxed);
    if in_flight && !survivor_is_counting {
        let mut rows = [0_u64; 4];
        freed_rows(|id, (words, ..)| add_row(&mut rows[2..], id, words));
        allocated_rows(|id, (words, _)| add_row(&mut rows[..2], id, words));
        add_to_totals(rows, totals());
    }
}

/// Whether [`correct`] is to be called at the next quiet point.
pub fn is_correction_due() -> bool {
    PROCESS.correction_due.load(Ordering::Relaxed)
}

/// Makes the totals equal to the sum of the rows, both `[allocated blocks, allocated bytes, freed blocks, freed bytes]`
/// and read at a quiet point.
pub fn correct(rows: [u64; 4], totals: [u64; 4]) {
    PROCESS.correction_due.store(false, Ordering::Relaxed);
    add_to_totals(rows, totals);
}

fn add_to_totals(rows: [u64; 4], totals: [u64; 4]) {
    PROCESS.shared_totals.add_words(core::array::from_fn(|word| rows[word].wrapping_sub(totals[word])));
}

fn add_row(sum: &mut [u64], id: StackId, words: [u64; 2]) {
    if id != StackId::UNKNOWN_FREES {
        for (sum, word) in sum.iter_mut().zip(words) {
            *sum = sum.wrapping_add(word);
        }
    }
}

/// Word by word, modulo 2^64: the shared totals of a forked child may hold a negative correction.
fn add(left: [u64; 2], right: [u64; 2]) -> [u64; 2] {
    [left[0].wrapping_add(right[0]), left[1].wrapping_add(right[1])]
}
