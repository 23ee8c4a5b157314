//! Any sequence of allocations, on several threads, beside a model that adds up: blocks keep what they hold, totals are the
//! model's after every round, and so are rows where a snapshot is taken.
//!
//! Compiled into a fuzzer and into a test, each with `heaptally_tests::watched` as its global allocator. Input is rounds of
//! operations, three bytes each. In a round up to three threads allocate at once; what they hold is the next one's
//! afterwards.
//!
//! ```text
//! byte 0   kind: 3 │ slot: 3 │ function: 2
//! byte 1   size: one of 32 and a little more or less: 5 │ 3        of a round's end: a snapshot, then a pause: 1 │ 1
//! byte 2   alignment: 4 │ thread: 2 │ calls between: 2
//! ```

use std::hint::black_box;
use std::thread;

use heaptally::{Counts, Tally};
use heaptally_tests::{ASKED, Block, SERVED, assert_conserved, assert_settles, counts, refusing};

const THREADS: usize = 3;
const SLOTS: usize = 8;
const FUNCTIONS: usize = 3;
/// Of one input: what follows is not performed.
const MOST_OPERATIONS: usize = 64;
const MOST_ROUNDS: usize = 5;

/// On both sides of which something changes: words, the size of the tag, tags of their own, pages, mappings.
const SIZES: [usize; 32] = [
    1,
    4,
    8,
    16,
    24,
    32,
    48,
    64,
    96,
    128,
    192,
    240,
    248,
    256,
    264,
    320,
    512,
    1000,
    1024,
    2048,
    4088,
    4096,
    8192,
    16384,
    32768,
    65536,
    100_000,
    131_072,
    200_000,
    262_144,
    524_288,
    1 << 20,
];
const ALIGNMENTS: u8 = 13;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Allocate,
    AllocateZeroed,
    Resize,
    /// A resize for which there is no memory.
    ResizeRefused,
    Free,
    EndRound,
}

#[derive(Clone, Copy)]
struct Operation {
    kind: Kind,
    slot: usize,
    function: usize,
    size: usize,
    align: usize,
    thread: usize,
    calls_between: u8,
    takes_snapshot: bool,
    pauses: bool,
}

impl Operation {
    fn new(bytes: [u8; 3]) -> Self {
        let [what, size, how] = bytes;
        Self {
            kind: match what & 7 {
                0 | 1 => Kind::Allocate,
                2 => Kind::AllocateZeroed,
                3 | 4 => Kind::Resize,
                5 => Kind::ResizeRefused,
                6 => Kind::Free,
                _ => Kind::EndRound,
            },
            slot: usize::from(what >> 3 & 7),
            function: usize::from(what >> 6) % FUNCTIONS,
            size: (SIZES[usize::from(size >> 3)] + usize::from(size & 7)).saturating_sub(4).max(1),
            align: 1 << ((how & 0xF) % ALIGNMENTS),
            thread: usize::from(how >> 4 & 3) % THREADS,
            calls_between: how >> 6,
            takes_snapshot: size & 2 == 2,
            pauses: size & 1 == 1,
        }
    }
}

/// A block, and the function that it is charged to; `None` if it was allocated while tracking was paused.
struct Held {
    block: Block,
    function: Option<usize>,
}

type Slots = [Option<Held>; SLOTS];
type Rows = [Counts; FUNCTIONS];
type Function = fn(&mut Option<Block>, Operation, u8);

/// The functions that blocks are charged to, and their names.
macro_rules! functions {
    ($($name:ident)*) => {
        $(#[inline(never)]
        fn $name(block: &mut Option<Block>, operation: Operation, calls_between: u8) {
            if calls_between > 0 {
                $name(block, operation, calls_between - 1);
                black_box(());
                return;
            }
            match (operation.kind, &mut *block) {
                (Kind::AllocateZeroed, _) => *block = Some(Block::zeroed(operation.size, operation.align)),
                (Kind::Resize, Some(block)) => block.resize(operation.size).expect("memory"),
                _ => *block = Some(Block::new(operation.size, operation.align)),
            }
            black_box(block);
        })*
        const FUNCTION: [(&str, Function); FUNCTIONS] = [$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}

functions!(first second third);

/// What the process has done so far, by every input.
pub(crate) struct Model {
    tally: Tally,
    rows: Rows,
}

impl Model {
    /// Starts tracking: to be called once.
    pub(crate) fn start() -> Self {
        let tally = heaptally::start(heaptally::config!()).expect("it is installed");
        Self { tally, rows: [Counts::ZERO; FUNCTIONS] }
    }

    /// Performs one input, and frees what it has left.
    ///
    /// # Panics
    ///
    /// When blocks do not hold what was written to them, or numbers are not the model's.
    pub(crate) fn check(&mut self, data: &[u8]) {
        let operations: Vec<Operation> =
            data.as_chunks().0.iter().take(MOST_OPERATIONS).map(|&bytes| Operation::new(bytes)).collect();
        let mut slots: [Slots; THREADS] = Default::default();
        let mut is_paused = false;
        for round in operations.split_inclusive(|operation| operation.kind == Kind::EndRound).take(MOST_ROUNDS) {
            self.perform(round, &mut slots, is_paused);
            compare_totals();
            slots.rotate_left(1);
            let Some(end) = round.last().filter(|last| last.kind == Kind::EndRound) else { break };
            if end.takes_snapshot {
                self.compare_rows();
            }
            is_paused = end.pauses;
            if is_paused { self.tally.pause() } else { self.tally.resume() }
        }
        for held in slots.iter_mut().flatten() {
            free(held, &mut self.rows);
        }
        self.tally.resume();
        compare_totals();
        self.compare_rows();
    }

    /// The operations of each thread, one after the other, all threads at once.
    fn perform(&mut self, round: &[Operation], slots: &mut [Slots; THREADS], is_paused: bool) {
        let [own, others @ ..] = slots;
        let of = |thread| round.iter().filter(move |operation| operation.thread == thread);
        let rows = thread::scope(|scope| {
            let others = (1..).zip(others).filter(|(thread, _)| of(*thread).next().is_some());
            let others: Vec<_> =
                others.map(|(thread, slots)| scope.spawn(move || perform_all(of(thread), slots, is_paused))).collect();
            let own = perform_all(of(0), own, is_paused);
            others.into_iter().map(|thread| thread.join().expect("no panic")).fold(own, add)
        });
        self.rows = add(self.rows, rows);
    }

    fn compare_rows(&self) {
        let snapshot = assert_conserved("all rows");
        let rows = FUNCTION.map(|(name, _)| snapshot.function(name).map_or(Counts::ZERO, |row| row.counts()));
        assert_eq!(rows, self.rows);
        assert_eq!(snapshot.losses().unknown_frees.blocks, 0);
    }
}

/// What the program has asked for, and what the system was asked for.
fn compare_totals() {
    assert_settles("asked for", || (heaptally::totals().counts(), ASKED.counts()));
    assert_settles("served", || (ASKED.with_tags(), SERVED.counts()));
}

fn perform_all<'o>(operations: impl Iterator<Item = &'o Operation>, slots: &mut Slots, is_paused: bool) -> Rows {
    let mut rows = [Counts::ZERO; FUNCTIONS];
    for &operation in operations {
        perform(operation, &mut slots[operation.slot], &mut rows, is_paused);
    }
    rows
}

fn perform(operation: Operation, slot: &mut Option<Held>, rows: &mut Rows, is_paused: bool) {
    match operation.kind {
        Kind::EndRound => return,
        Kind::Free => return free(slot, rows),
        Kind::ResizeRefused => {
            if let Some(held) = slot {
                assert!(refusing(|| held.block.resize(operation.size)).is_err());
            }
            return;
        }
        Kind::Allocate | Kind::AllocateZeroed => free(slot, rows),
        Kind::Resize => {}
    }
    let mut block = slot.take().map(|held| {
        count_freed(&held, rows);
        held.block
    });
    let (_, function) = FUNCTION[operation.function];
    function(&mut block, operation, operation.calls_between);
    let function = (!is_paused).then_some(operation.function);
    if let Some(function) = function {
        rows[function] += counts([1, operation.size as u64], [0, 0]);
    }
    *slot = block.map(|block| Held { block, function });
}

fn free(slot: &mut Option<Held>, rows: &mut Rows) {
    if let Some(held) = slot.take() {
        count_freed(&held, rows);
    }
}

fn count_freed(held: &Held, rows: &mut Rows) {
    if let Some(function) = held.function {
        rows[function] += counts([0, 0], [1, held.block.size() as u64]);
    }
}

fn add(left: Rows, right: Rows) -> Rows {
    std::array::from_fn(|function| left[function] + right[function])
}
