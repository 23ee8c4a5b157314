//! A handler that allocates and frees at every instruction: of the program, of the hook, of a thread's registration, of
//! its first capture, of a rule's compilation and of the thread's end. Its blocks have the right stack or, counted, none.
//!
//! Each operation is stepped through once with the handler running at all instructions, and then again and again, each
//! time with the handler at one instruction only, so that it comes to a thread that it has not prepared. Bound: 15,000
//! steps for the latter, an operation: 1 to 60 instructions, and 50 of a thread's registration. `HEAPTALLY_STEPS=all`
//! visits all of them, for hours.
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
#[path = "common/step.rs"]
mod step;

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::ffi::c_void;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, OnMismatch, SiteKind, Snapshot, TallyAlloc};
use operation::{OPERATIONS, Operation};
use placing::{Place, Placing};

#[global_allocator]
static ALLOC: TallyAlloc<Placing> = TallyAlloc::new(Placing);

/// Of one operation, and steps to get there.
const VISITS: u64 = 60;
const BUDGET: u64 = 15_000;
/// Within so many instructions of its first allocation a thread is registered; every so many of them are visited.
const REGISTRATION: u64 = 2500;
const REGISTRATION_STRIDE: usize = 50;
/// The handler runs at every instruction.
const EVERY: u64 = u64::MAX;
/// It runs at none.
const NOWHERE: u64 = u64::MAX - 1;

/// Where the handler runs.
static AT: AtomicU64 = AtomicU64::new(EVERY);
static HANDLED: AtomicU64 = AtomicU64::new(0);
static STEPS: AtomicU64 = AtomicU64::new(0);

fn on_step(step: u64, _: &mut libc::ucontext_t) {
    let at = AT.load(Ordering::Relaxed);
    if at == EVERY || at == step {
        HANDLED.fetch_add(1, Ordering::Relaxed);
        // What comes to every instruction must not have done what the operation is about to do.
        let place = if at == EVERY || placing::place() == Place::Beyond { Place::Arena } else { placing::place() };
        placing::at(place, in_handler);
    }
    if at == step {
        step::end();
    }
}

/// A block of 40 bytes that grows to 300, and one of 400 that shrinks to 48.
#[inline(never)]
fn in_handler() {
    // SAFETY: the layouts are not of size zero, the block is used with the one it has, and freed once.
    unsafe {
        for [before, after] in [[40, 300], [400, 48]] {
            let [before, after] = [before, after].map(|bytes| Layout::from_size_align_unchecked(bytes, 8));
            let block = black_box(alloc(black_box(before)));
            dealloc(black_box(realloc(block, before, after.size())), after);
        }
    }
}

fn by_handler(runs: u64) -> Counts {
    let (blocks, bytes) = (4 * runs, (40 + 300 + 400 + 48) * runs);
    Counts { allocated_blocks: blocks, allocated_bytes: bytes, freed_blocks: blocks, freed_bytes: bytes }
}

/// Performs the operation on a new thread, stepping.
fn run(operation: Operation) {
    operation::on_new_thread(worker, operation);
}

extern "C" fn worker(number: *mut c_void) -> *mut c_void {
    let operation = OPERATIONS[number.addr()];
    if operation == Operation::EndThread {
        end_of_thread::set_key();
        operation.perform(step::begin);
    } else {
        operation.perform(step::begin);
        STEPS.store(step::end(), Ordering::Relaxed);
    }
    ptr::null_mut()
}

/// Ends the stepping when the thread's end has come to the last round of its keys' destructors, after heaptally's.
mod end_of_thread {
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
        match rounds_left.addr() {
            1 => STEPS.store(step::end(), Ordering::Relaxed),
            rounds => set(ptr::without_provenance_mut(rounds - 1)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Tracking {
    /// Off.
    Off,
    /// On, and every capture compared with the platform's unwinder.
    Verified,
    /// On, with the quick ways that a verified capture does not take.
    Quick,
}

#[test]
fn what_a_handler_allocates_at_any_instruction_is_charged_or_shown() {
    for tracking in [Tracking::Off, Tracking::Verified, Tracking::Quick] {
        assert_eq!(child::run(|| handlers_everywhere(tracking).map(|()| 0)), Ok(0), "{tracking:?}");
    }
}

fn handlers_everywhere(tracking: Tracking) -> Result<(), String> {
    step::handle(on_step);
    let config = Config::new().modules(["step_nested"]).without_history();
    match tracking {
        Tracking::Off => {}
        Tracking::Verified => start(config.verify_captures(NonZeroU32::MIN, OnMismatch::Abort))?,
        Tracking::Quick => start(config)?,
    }
    operation::old::prepare();
    for operation in OPERATIONS {
        let before = quiet_snapshot()?;
        HANDLED.store(0, Ordering::Relaxed);
        AT.store(EVERY, Ordering::Relaxed);
        run(operation);
        let steps_with_handlers = STEPS.load(Ordering::Relaxed);
        // What the handlers have done at every instruction may not be left to do.
        AT.store(NOWHERE, Ordering::Relaxed);
        run(operation);
        let steps = steps_with_handlers.max(STEPS.load(Ordering::Relaxed));
        let mut visits = 2;
        let registration = if operation == Operation::First { steps.min(REGISTRATION) } else { 0 };
        let registration = (0..registration).step_by(REGISTRATION_STRIDE);
        for step in step::chosen(steps, VISITS, BUDGET).chain(registration) {
            AT.store(step, Ordering::Relaxed);
            run(operation);
            visits += 1;
        }
        let after = quiet_snapshot()?;
        let handled = HANDLED.load(Ordering::Relaxed);
        println!("{tracking:?}, {operation:?}: {steps} instructions, {handled} handlers");
        assert!(handled >= steps_with_handlers);
        if tracking != Tracking::Off {
            assert_charged_or_shown(&before, &after, handled, operation.counts(visits));
        }
    }
    Ok(())
}

fn start(config: Config) -> Result<(), String> {
    heaptally::start(config).map(drop).map_err(|error| error.to_string())
}

/// `handled` runs of the handler, and the operations of the program, are in their rows or in one without a stack.
fn assert_charged_or_shown(before: &Snapshot, after: &Snapshot, handled: u64, program: Counts) {
    let change = |row: fn(&Snapshot) -> Counts| row(after) - row(before);
    let in_handler = change(|snapshot| rows_of(snapshot, "step_nested::in_handler"));
    let without_stack = change(|snapshot| pseudo_rows(snapshot, &[SiteKind::NoStack, SiteKind::Teardown]));
    assert_eq!(in_handler + without_stack, by_handler(handled));
    let with_stack = change(|snapshot| rows_of(snapshot, "step_nested::operation"));
    let untagged = change(|snapshot| pseudo_rows(snapshot, &[SiteKind::Untagged]));
    assert_eq!(with_stack + untagged, program);
    // Each of them is told: what it interrupted was the allocator.
    let nested = after.losses().no_stack_nested - before.losses().no_stack_nested;
    assert_eq!(change(|snapshot| pseudo_rows(snapshot, &[SiteKind::NoStack])).allocated_blocks, nested);
    let losses = after.losses();
    assert_eq!((losses.abandoned, losses.no_stack_failed, losses.unknown_frees.blocks), (0, 0, 0), "{losses:?}");
    assert_eq!((after.captures().implausible, after.captures().mismatched), (0, 0));
}

fn rows_of(snapshot: &Snapshot, path: &str) -> Counts {
    let rows = snapshot.by_function();
    let of_path = rows.iter().filter(|row| row.function().starts_with(path));
    of_path.fold(Counts::ZERO, |sum, row| sum + row.counts())
}

fn pseudo_rows(snapshot: &Snapshot, kinds: &[SiteKind]) -> Counts {
    let rows = snapshot.by_function();
    let of_kinds = rows.iter().filter(|row| kinds.contains(&row.kind()));
    of_kinds.fold(Counts::ZERO, |sum, row| sum + row.counts())
}
