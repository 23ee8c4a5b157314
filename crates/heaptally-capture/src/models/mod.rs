//! Small programs of two or three threads, run by [loom] in all their interleavings, and with all that each load may see:
//! what `docs/memory-ordering.md` says, tried out. Only with `--cfg heaptally_loom`, by `tests/loom.sh`.
//!
//! They run the crate's own code, statics included: [`atomics`] takes the place of the processor's in `crate::sync`. Tables
//! are a few slots large then, so that they fill up. Each property is tried twice: as the code is, all runs must keep it; and
//! with a fault planted into one operation of the code ([`fault!`]), some run must not, or the model proves nothing.
//!
//! What loom does not do: a load never sees a store that comes later in the run, and a thread's own accesses stay in
//! order, but for what a load may still see of the past. Handlers of signals and forks are not modelled.
//!
//! [loom]: https://docs.rs/loom

extern crate std;

pub(crate) mod atomics;
mod execution;
mod fault;
pub(crate) mod system;

mod arena;
mod doorbell;
mod gate;
mod hand_over;
mod in_flight;
mod page_map;
mod peak;
mod ring;
mod snapshot;
mod tables;

use std::boxed::Box;
use std::panic::{self, AssertUnwindSafe};
use std::string::{String, ToString};
use std::sync::Once;
use std::{eprintln, thread_local};

use core::cell::Cell;

use fault::Fault;

/// Preemptions that suffice where a fault is to be found, and in a model that is too large to be run in all interleavings:
/// of the faults planted here none needs more.
const FEW_PREEMPTIONS: usize = 3;
/// Words that a model touches, if it does not say otherwise.
const WORDS: usize = 128;
const ENDED: &str = "no thread of a model panics";

thread_local! {
    static RUNS: Cell<u64> = const { Cell::new(0) };
    /// Whether the threads of a model are started in reverse order.
    static IS_REVERSED: Cell<bool> = const { Cell::new(false) };
    static IS_SILENT: Cell<bool> = const { Cell::new(false) };
}

/// A program, and how much of it is run.
struct Model {
    /// Of threads that could have gone on; `None` for all interleavings there are.
    preemptions: Option<usize>,
    /// Files whose words are not modelled: their operations are done at once, in the order of the run.
    beside: &'static [&'static str],
    /// How many words it touches at most.
    words: usize,
    program: fn(),
}

impl Model {
    const fn new(program: fn()) -> Self {
        Self { preemptions: None, beside: &["arena.rs", "losses.rs", "tick.rs"], words: WORDS, program }
    }

    /// In all interleavings with so few preemptions.
    const fn with_preemptions(self, preemptions: usize) -> Self {
        Self { preemptions: Some(preemptions), ..self }
    }

    /// With room for more words.
    const fn with_words(self, words: usize) -> Self {
        Self { words, ..self }
    }

    /// With other files beside the model.
    const fn beside(self, beside: &'static [&'static str]) -> Self {
        Self { beside, ..self }
    }

    /// Runs it. Panics if a run of it does.
    fn holds(&self) {
        // `tests/loom.sh --quick` sets one for all.
        let bound_of_all = loom::model::Builder::new().preemption_bound;
        let runs = self.run(None, [bound_of_all, self.preemptions].into_iter().flatten().min());
        eprintln!("{}: holds in {runs} runs", std::thread::current().name().unwrap_or_default());
    }

    /// Runs it with a fault in the code. Panics unless a run of it does.
    fn fails_with(&self, fault: Fault) {
        self.expect_failure(&fault.to_string(), Some(fault));
    }

    fn expect_failure(&self, what: &str, fault: Option<Fault>) {
        let few = self.preemptions.map_or(FEW_PREEMPTIONS, |bound| bound.min(FEW_PREEMPTIONS));
        silence_panics();
        IS_SILENT.set(true);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.run(fault, Some(few))));
        IS_SILENT.set(false);
        let Err(panic) = outcome else { panic!("the model does not find: {what}") };
        let said = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        let said = said.and_then(|said| said.trim().lines().next()).unwrap_or_default();
        eprintln!("    finds {what}, in run {}: {said}", RUNS.get());
    }

    /// Runs it, whose program is wrong itself. Panics unless a run of it does.
    fn fails(&self, why: &str) {
        self.expect_failure(why, None);
    }

    fn run(&self, fault: Option<Fault>, preemptions: Option<usize>) -> u64 {
        let (beside, words, program) = (self.beside, self.words, self.program);
        RUNS.set(0);
        // Where one thread's load is followed by another's, loom does not try a later store before the first of them, but
        // if it begins with the threads in that order.
        for is_reversed in [false, true] {
            IS_REVERSED.set(is_reversed);
            let mut builder = loom::model::Builder::new();
            builder.preemption_bound = preemptions;
            builder.max_branches = 20_000;
            builder.check(move || {
                RUNS.set(RUNS.get() + 1);
                execution::begin(fault, beside, words);
                program();
            });
        }
        RUNS.get()
    }
}

/// Keeps the panics of planted faults from the output.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_SILENT.get() {
                before(info);
            }
        }));
    });
}

/// Runs two threads beside each other, to their ends.
fn both<A: Send + 'static, B: Send + 'static>(
    first: impl FnOnce() -> A + Send + 'static,
    second: impl FnOnce() -> B + Send + 'static,
) -> (A, B) {
    let (first, second) = if IS_REVERSED.get() {
        let second = spawn(second);
        (spawn(first), second)
    } else {
        (spawn(first), spawn(second))
    };
    (first.join().expect(ENDED), second.join().expect(ENDED))
}

/// Runs three threads beside each other, to their ends.
fn all_three<A: Send + 'static, B: Send + 'static, C: Send + 'static>(
    first: impl FnOnce() -> A + Send + 'static,
    second: impl FnOnce() -> B + Send + 'static,
    third: impl FnOnce() -> C + Send + 'static,
) -> (A, B, C) {
    let (first, second, third) = if IS_REVERSED.get() {
        let third = spawn(third);
        let second = spawn(second);
        (spawn(first), second, third)
    } else {
        (spawn(first), spawn(second), spawn(third))
    };
    (first.join().expect(ENDED), second.join().expect(ENDED), third.join().expect(ENDED))
}

fn spawn<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> loom::thread::JoinHandle<R> {
    // In words. The first thread of a model has an eighth of that, which will do.
    loom::thread::Builder::new().stack_size(1 << 15).spawn(body).expect("a thread of the model")
}

/// A value that lives as long as the run, in memory that every run has at another place.
fn leak<T: 'static>(value: T) -> &'static T {
    execution::keep(value)
}
