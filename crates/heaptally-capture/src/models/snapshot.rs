//! The order of the reads and of the counts: no row is negative, no sum of rows is above the totals, and a quiet point is
//! one. The hook's own code, in mode Paused, which takes no stacks.

extern crate std;

use core::cell::UnsafeCell;

use super::fault::Instead::{Nothing, Relaxed};
use super::fault::fault;
use super::{Model, all_three, both, leak};
use crate::capture::Entry;
use crate::census;
use crate::hook::{self, Block, Thread};
use crate::mode::Mode;
use crate::private_lines::{PageBudget, PrivateLines};
use crate::process::PROCESS;
use crate::stack_id::StackId;
use crate::sync::{AtomicU32, Ordering};
use crate::thread_state::ThreadState;
use crate::tick::Tick;

const SIZE: usize = 24;
/// A snapshot reads seven words of sixteen rows.
const WORDS: usize = 256;

/// Memory for a block and its tag.
#[derive(Clone, Copy)]
struct Memory(&'static UnsafeCell<[u64; 4]>);

// SAFETY: used by whoever has the block, which one thread hands to another.
unsafe impl Send for Memory {}

impl Memory {
    fn new() -> Self {
        Self(leak(UnsafeCell::new([0; 4])))
    }

    fn block(self) -> Block {
        Block { address: self.0.get().cast(), size: SIZE }
    }

    fn allocate(self, thread: Thread) {
        // No stack is taken.
        let entry = Entry { pc: 1, sp: 1, fp: 1 };
        // SAFETY: the block is the caller's, and has room for a tag; the entry is not looked at.
        unsafe { hook::allocated(thread, self.block(), entry) };
    }

    fn free(self, thread: Thread) {
        // SAFETY: the block is the caller's.
        let origin = unsafe { hook::take_origin(self.block()) };
        hook::freed(thread, self.block(), origin, 1);
    }
}

/// Tracking is paused, and a thread has a state. No lines of its own: there is no memory for them.
fn begin() -> &'static ThreadState {
    PROCESS.mode.set(Mode::Paused);
    state()
}

fn state() -> &'static ThreadState {
    let state = PROCESS.registry.acquire(&PROCESS.arena, &PROCESS.mode).expect("a state");
    PROCESS.registry.own(state);
    // Marks its gate, so that the fence of that does not stand for orderings that are there every time.
    Memory::new().allocate(Thread::Own(state));
    state
}

/// The sums of all rows and the row "paused", as `[allocated blocks, allocated bytes]` and the same freed.
#[derive(Default)]
struct Rows {
    allocated: [u64; 2],
    freed: [u64; 2],
}

impl Rows {
    fn read_freed(&mut self) {
        census::freed_rows(|_, (words, births, temporaries)| {
            assert!(births == 0 && temporaries <= words[0]);
            self.freed = [self.freed[0] + words[0], self.freed[1] + words[1]];
        });
    }

    fn read_allocated(&mut self) {
        census::allocated_rows(|_, (words, _)| {
            self.allocated = [self.allocated[0] + words[0], self.allocated[1] + words[1]];
        });
    }

    fn words(&self) -> [u64; 4] {
        [self.allocated[0], self.allocated[1], self.freed[0], self.freed[1]]
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Right,
    AllocatedFirst,
    TotalsFirst,
}

/// One thread allocates a block and hands it to another, which frees it. A third takes a snapshot. All blocks are in one
/// row.
fn handed_on(order: Order) {
    let (first, second, memory) = (begin(), state(), Memory::new());
    let is_there: &'static AtomicU32 = leak(AtomicU32::new(0));
    let allocates = move || {
        memory.allocate(Thread::Own(first));
        // The program's own synchronisation.
        is_there.store(1, Ordering::Release);
    };
    let frees = move || {
        if is_there.load(Ordering::Acquire) == 1 {
            memory.free(Thread::Own(second));
        }
    };
    all_three(allocates, frees, move || {
        let (mut rows, mut totals) = (Rows::default(), [0; 4]);
        if order == Order::TotalsFirst {
            totals = census::totals();
        }
        if order == Order::AllocatedFirst {
            rows.read_allocated();
            rows.read_freed();
        } else {
            rows.read_freed();
            rows.read_allocated();
        }
        if order != Order::TotalsFirst {
            totals = census::totals();
        }
        let rows = rows.words();
        // Above the two blocks that were there before.
        let is_above = |words: [u64; 4]| words[0] >= words[2] + 2 && words[1] >= words[3] + 2 * SIZE as u64;
        assert!(is_above(rows), "a negative row: {rows:?}");
        assert!(is_above(totals), "negative totals: {totals:?}");
        assert!(rows.iter().zip(totals).all(|(&row, total)| row <= total), "{rows:?} of {totals:?}");
    });
}

const HANDED_ON: Model = Model::new(|| handed_on(Order::Right)).with_words(WORDS).with_preemptions(2);

#[test]
fn no_row_is_negative_and_no_sum_of_rows_is_above_the_totals() {
    HANDED_ON.holds();
    let allocated_first = Model { program: || handed_on(Order::AllocatedFirst), ..HANDED_ON };
    allocated_first.fails("a snapshot that reads allocated before freed words");
    let totals_first = Model { program: || handed_on(Order::TotalsFirst), ..HANDED_ON };
    totals_first.fails("a snapshot that reads totals before rows");
    HANDED_ON.fails_with(fault!("counter.rs", "fn add(", ".fetch_add", Relaxed));
    HANDED_ON.fails_with(fault!("counter.rs", "fn get(", ".load", Relaxed));
}

/// A thread allocates, with its state or without. A snapshot, which reads as `Reading::read` of `engine/counts.rs` does,
/// finds the totals unchanged and nothing in progress: then its rows add up to them.
fn quiet(has_state: bool, looks_late: bool) {
    let (state, memory) = (begin(), Memory::new());
    let thread = if has_state { Thread::Own(state) } else { Thread::Stateless };
    both(
        move || memory.allocate(thread),
        move || {
            let before = census::totals();
            let mut is_quiet = looks_late || !census::in_flight();
            let mut rows = Rows::default();
            rows.read_freed();
            rows.read_allocated();
            let totals = census::totals();
            is_quiet &= !looks_late || !census::in_flight();
            if before == totals && is_quiet {
                assert_eq!(rows.words(), totals, "not a quiet point");
            }
        },
    );
}

const QUIET: Model = Model::new(|| quiet(true, false)).with_words(WORDS).with_preemptions(3);
const QUIET_WITHOUT_STATE: Model = Model { program: || quiet(false, false), ..QUIET };

#[test]
fn rows_add_up_to_the_totals_at_a_quiet_point() {
    QUIET.holds();
    QUIET_WITHOUT_STATE.holds();
    let late = Model { program: || quiet(true, true), ..QUIET };
    late.fails("a snapshot that looks for operations in progress after the rows");
    QUIET.fails_with(fault!("thread_state.rs", "fn drop", "busy.store", Relaxed));
    QUIET.fails_with(fault!("thread_state.rs", "fn busy_stack_pointer", "busy.load", Relaxed));
    QUIET.fails_with(fault!("thread_state.rs", "fn enter(", "busy.store", Nothing));
    QUIET_WITHOUT_STATE.fails_with(fault!("in_flight.rs", "fn during", ".fetch_update", Relaxed));
    QUIET_WITHOUT_STATE.fails_with(fault!("in_flight.rs", "fn any", ".load", Relaxed));
    QUIET.fails_with(fault!("counter.rs", "fn add_alone", ".store", Relaxed));
    QUIET.fails_with(fault!("counter.rs", "fn add(", ".fetch_add", Relaxed));
}

/// A thread works for heaptally, while another asks what the program has allocated: nothing. As in the loop of
/// `census::program`, which gives up after some readings; here it is not asked again.
const OWN_BLOCKS: Model = Model::new(|| {
    let (state, memory) = (begin(), Memory::new());
    PROCESS.mode.set(Mode::On);
    let works = move || {
        state.enter_internal();
        memory.allocate(Thread::Own(state));
        state.leave_internal();
    };
    both(works, || {
        let (own, whole) = (census::internal(), census::totals());
        let is_at_work = PROCESS.shared_in_flight.any() || PROCESS.registry.iter().any(ThreadState::is_at_work);
        if !is_at_work && census::internal() == own {
            let program: [u64; 4] = core::array::from_fn(|word| whole[word] - own[word]);
            assert_eq!(program, [1, SIZE as u64, 0, 0], "heaptally's block is the program's");
        }
    });
});

#[test]
fn what_heaptally_allocates_is_not_in_the_programs_totals() {
    OWN_BLOCKS.holds();
    OWN_BLOCKS.fails_with(fault!("thread_state.rs", "pub fn enter_internal", "internal.store", Nothing));
    OWN_BLOCKS.fails_with(fault!("thread_state.rs", "fn is_at_work", "internal.load", Relaxed));
    OWN_BLOCKS.fails_with(fault!("thread_state.rs", "fn leave_internal", "internal.store", Relaxed));
}

/// A thread gets a page of lines of its own while a snapshot reads its lines.
const PAGES: Model = Model::new(|| {
    let lines: &'static PrivateLines = PROCESS.arena.one().expect("memory");
    let budget: &'static PageBudget = leak(PageBudget::new());
    budget.set_limit_bytes(1 << 20);
    // Its slot has memory, which would order what the page's address is to order.
    lines.meet(StackId::new(1000), budget, &PROCESS.arena);
    let counts = move || {
        for _ in 0..4 {
            match lines.line(StackId::FIRST_REAL) {
                Some(line) => line.count_allocated(10, Tick::FIRST),
                None => lines.meet(StackId::FIRST_REAL, budget, &PROCESS.arena),
            }
        }
    };
    let ((), read) = both(counts, move || lines.line(StackId::FIRST_REAL).map(|line| line.allocated().0));
    assert!(read.is_none_or(|[blocks, bytes]| blocks <= 2 && [0, 10, 20].contains(&bytes)));
    assert_eq!(lines.line(StackId::FIRST_REAL).map(|line| line.allocated().0), Some([2, 20]));
});

#[test]
fn a_line_of_a_thread_is_zero_before_it_is_seen() {
    PAGES.holds();
    PAGES.fails_with(fault!("private_lines.rs", "pairs with the Acquire in `line`", ".compare_exchange", Relaxed));
    PAGES.fails_with(fault!("private_lines.rs", "fn line(", "slot.load", Relaxed));
}
