//! A fork while a thread stands at some instruction of an operation: forked by another thread, so that the operation
//! never ends in the child, or by a handler on that very thread, where it goes on.
//!
//! The child counts, passes the states of vanished threads on, and reports. Bound: 12 instructions of an operation,
//! evenly, and of a short one 12 between totals and row; `HEAPTALLY_STEPS=all` visits all of them.
#![cfg(not(heaptally_portable))]

#[path = "common/bump.rs"]
mod bump;
#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/operation.rs"]
mod operation;
#[path = "common/placing.rs"]
mod placing;
#[path = "common/program.rs"]
mod program;
#[path = "common/step.rs"]
mod step;

use std::ffi::c_void;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{mem, ptr, thread};

use conserved::quiet_snapshot;
use heaptally::{Config, Symbolize, TallyAlloc};
use operation::{OPERATIONS, Operation};
use placing::{Place, Placing};

#[global_allocator]
static ALLOC: TallyAlloc<Placing> = TallyAlloc::new(Placing);

/// Of one operation, and steps to get there.
const VISITS: u64 = 12;
const BUDGET: u64 = 60_000;
/// How long the test's own threads may take to fall quiet.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an operation has reached the totals, it reaches its row within this many instructions, of which every
/// [`WINDOW_STRIDE`]th is visited.
const WINDOW: u64 = 36;
const WINDOW_STRIDE: usize = 3;
/// Operations of more steps are not visited there.
const SHORT: u64 = 5000;
const NOWHERE: u64 = u64::MAX;
/// The thread is not stepped through.
const UNSTEPPED: u64 = u64::MAX - 1;

/// Where the handler stops or forks.
static AT: AtomicU64 = AtomicU64::new(NOWHERE);
static STEPS: AtomicU64 = AtomicU64::new(0);
/// Where the operation has just been counted in the totals.
static COUNTED_AT: AtomicU64 = AtomicU64::new(0);
/// Whether the handler forks itself.
static FORKS_IN_HANDLER: AtomicBool = AtomicBool::new(false);

/// Of the thread that is stepped through.
static PLACE: AtomicU8 = AtomicU8::new(ON_THE_WAY);
const ON_THE_WAY: u8 = 0;
const STOPPED: u8 = 1;
const GOES_ON: u8 = 2;
const OVER: u8 = 3;
/// In the child of the handler, where the thread is the only one.
const IN_CHILD: u8 = 4;

/// What became of the handler's child.
static OUTCOME: Mutex<Result<u8, String>> = Mutex::new(Ok(0));

fn on_step(step: u64, context: &mut libc::ucontext_t) {
    match AT.load(Ordering::Relaxed) {
        NOWHERE => return note_count(step),
        // A fork takes the locks of malloc, which libc may hold where it was interrupted.
        at if step < at || !program::is_interrupted(context) => return,
        _ => {}
    }
    step::end();
    if !FORKS_IN_HANDLER.load(Ordering::Relaxed) {
        PLACE.store(STOPPED, Ordering::SeqCst);
        wait_until(|place| place == GOES_ON);
        return;
    }
    match child::fork() {
        Ok(child::Fork::Child) => PLACE.store(IN_CHILD, Ordering::SeqCst),
        Ok(child::Fork::Parent(child)) => *OUTCOME.lock().unwrap() = child::wait(child),
        Err(error) => *OUTCOME.lock().unwrap() = Err(error),
    }
}

/// Notes the last step before which the totals have changed.
fn note_count(step: u64) {
    static BLOCKS: AtomicU64 = AtomicU64::new(0);
    let totals = heaptally::totals();
    let blocks = totals.allocated_blocks + totals.freed_blocks;
    if BLOCKS.swap(blocks, Ordering::Relaxed) != blocks {
        COUNTED_AT.store(step, Ordering::Relaxed);
    }
}

extern "C" fn worker(number: *mut c_void) -> *mut c_void {
    let is_stepped = AT.load(Ordering::Relaxed) != UNSTEPPED;
    OPERATIONS[number.addr()].perform(if is_stepped { step::begin } else { || () });
    STEPS.store(step::end(), Ordering::Relaxed);
    end_if_in_child();
    ptr::null_mut()
}

/// After the operation.
fn end_if_in_child() {
    placing::set(Place::Arena);
    if PLACE.swap(OVER, Ordering::SeqCst) == IN_CHILD {
        child::exit(in_child);
    }
}

/// An allocation in the last round of the destructors, when heaptally has taken the thread's state back.
extern "C" fn ending(_: *mut c_void) -> *mut c_void {
    last_round::set_key();
    drop(black_box(Box::new(black_box([1_u64; 3]))));
    ptr::null_mut()
}

mod last_round {
    use super::*;

    const ROUNDS: usize = 4;

    pub(super) fn set_key() {
        set(ptr::without_provenance_mut(ROUNDS));
    }

    fn set(rounds_left: *mut c_void) {
        static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
        let key = *KEY.get_or_init(|| {
            let mut key = 0;
            // SAFETY: writes the key; the destructor has the required signature.
            assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(destructor)) }, 0);
            key
        });
        // SAFETY: a live key.
        unsafe { libc::pthread_setspecific(key, rounds_left) };
    }

    extern "C" fn destructor(rounds_left: *mut c_void) {
        if rounds_left.addr() > 1 {
            return set(rounds_left.map_addr(|rounds| rounds - 1));
        }
        step::begin();
        drop(black_box(Box::new(black_box([1_u64; 3]))));
        STEPS.store(step::end(), Ordering::Relaxed);
        end_if_in_child();
    }
}

/// Counts, on new threads, which take the states over, too; and reports.
fn in_child() -> Result<u8, String> {
    quiet_snapshot().map_err(|error| format!("at first: {error}"))?;
    // Where the operation may have been about to map slots.
    placing::at(Place::Region, || drop(black_box(vec![0_u8; 1000])));
    let allocate = || (0..40).for_each(|bytes| drop(black_box(vec![0_u8; 10 * bytes])));
    let threads = [(); 3].map(|()| thread::spawn(allocate));
    for thread in threads {
        thread.join().map_err(|_| "a thread of the child panicked".to_owned())?;
    }
    quiet_snapshot().map_err(|error| format!("after threads: {error}"))?;
    let begun = Instant::now();
    let after = loop {
        let snapshot = heaptally::snapshot();
        snapshot.check().map_err(|violation| violation.to_string())?;
        if snapshot.is_quiet() {
            break snapshot;
        }
        if begun.elapsed() > PATIENCE {
            return Err("an operation never ends".to_owned());
        }
    };
    let losses = after.losses();
    let lost = (losses.unknown_frees.blocks, losses.ring_full, losses.no_stack_failed);
    if lost == (0, 0, 0) { Ok(0) } else { Err(format!("{losses:?}")) }
}

#[test]
fn children_forked_at_any_instruction_of_an_operation_count_and_report() {
    step::handle(on_step);
    placing::begin_region();
    heaptally::start(Config::new().modules(["step_fork"]).without_history().symbolize(Symbolize::Off)).unwrap();
    operation::old::prepare();
    for operation in
        OPERATIONS.into_iter().filter(|operation| !matches!(operation, Operation::AskLibc | Operation::EndThread))
    {
        // Once for the rules: from then on it takes as many instructions each time.
        AT.store(UNSTEPPED, Ordering::Relaxed);
        operation::on_new_thread(worker, operation);
        fork_everywhere(&format!("{operation:?}, forked by another thread"), || operation::spawn(worker, operation));
    }

    AT.store(NOWHERE, Ordering::Relaxed);
    // From here on a thread is in the middle of an operation, and will never end it in any child.
    operation::on_new_thread(worker, Operation::SameStack);
    AT.store(COUNTED_AT.load(Ordering::Relaxed), Ordering::Relaxed);
    PLACE.store(ON_THE_WAY, Ordering::SeqCst);
    let bystander = operation::spawn(worker, Operation::SameStack);
    wait_until(|place| place == STOPPED);
    FORKS_IN_HANDLER.store(true, Ordering::Relaxed);
    let operations = [
        Operation::First,
        Operation::SameStack,
        Operation::Free,
        Operation::Tell,
        Operation::FreeOldTelling,
        Operation::Realloc,
        Operation::FirstLarge,
        Operation::FreeLarge,
        Operation::Untagged,
    ];
    for operation in operations {
        fork_everywhere(&format!("{operation:?}, forked by a handler"), || operation::spawn(worker, operation));
    }
    fork_everywhere("without a state, forked by a handler", || operation::spawn(ending, Operation::EndThread));
    PLACE.store(GOES_ON, Ordering::SeqCst);
    operation::join(bystander);
    assert_eq!(quiet_snapshot().map(drop), Ok(()));
}

/// Forks at instructions of what the thread that `spawn` makes does.
fn fork_everywhere(what: &str, spawn: impl Fn() -> libc::pthread_t) {
    AT.store(NOWHERE, Ordering::Relaxed);
    operation::join(spawn());
    let steps = STEPS.load(Ordering::Relaxed);
    let counted_at = COUNTED_AT.load(Ordering::Relaxed);
    println!("{what}: {steps} instructions, the {counted_at}th counts");
    let window = if steps <= SHORT { counted_at..counted_at + WINDOW } else { 0..0 };
    let window = window.step_by(WINDOW_STRIDE);
    for step in step::chosen(steps, VISITS, BUDGET).chain(window) {
        AT.store(step, Ordering::Relaxed);
        PLACE.store(ON_THE_WAY, Ordering::SeqCst);
        let thread = spawn();
        // The operation may be over before: it is a few instructions shorter now and then.
        let place = wait_until(|place| matches!(place, STOPPED | OVER));
        if place == STOPPED {
            assert_eq!(child::run(in_child), Ok(0), "{what}, step {step}");
            PLACE.store(GOES_ON, Ordering::SeqCst);
        }
        operation::join(thread);
        let outcome = mem::replace(&mut *OUTCOME.lock().unwrap(), Ok(0));
        assert_eq!(outcome, Ok(0), "{what}, step {step}");
    }
}

fn wait_until(is_reached: impl Fn(u8) -> bool) -> u8 {
    loop {
        let place = PLACE.load(Ordering::SeqCst);
        if is_reached(place) {
            return place;
        }
        thread::sleep(Duration::from_micros(50));
    }
}
