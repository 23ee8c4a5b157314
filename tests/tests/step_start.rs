//! Tracking starts, on another thread, while this one is at some instruction of an operation, and a handler allocates
//! before the operation goes on: every block is in one row, and rows add up to totals.
//!
//! A child for each instruction, since tracking starts once. Bound: 40 instructions of an operation, evenly;
//! `HEAPTALLY_STEPS=all` visits all of them.
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

use std::alloc::{Layout, alloc};
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Config, Symbolize, TallyAlloc};
use operation::{OPERATIONS, Operation};
use placing::Placing;

#[global_allocator]
static ALLOC: TallyAlloc<Placing> = TallyAlloc::new(Placing);

/// Of one operation, and steps to get there.
const VISITS: u64 = 40;
const BUDGET: u64 = 50_000;
const NOWHERE: u64 = u64::MAX;
const HANDLER_BYTES: usize = 40;

/// Where the handler waits for the start.
static AT: AtomicU64 = AtomicU64::new(NOWHERE);
static IS_WAITING: AtomicBool = AtomicBool::new(false);
static IS_STARTED: AtomicBool = AtomicBool::new(false);
/// Before the handler's turn came: the operation is a few instructions shorter now and then.
static IS_OVER: AtomicBool = AtomicBool::new(false);
static STEPS: AtomicU64 = AtomicU64::new(0);

fn on_step(step: u64, context: &mut libc::ucontext_t) {
    if step >= AT.load(Ordering::Relaxed) && program::is_interrupted(context) {
        step::end();
        IS_WAITING.store(true, Ordering::SeqCst);
        while !IS_STARTED.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_micros(100));
        }
        // SAFETY: the size is not zero.
        black_box(unsafe { alloc(black_box(Layout::from_size_align_unchecked(HANDLER_BYTES, 8))) });
    }
}

extern "C" fn worker(number: *mut c_void) -> *mut c_void {
    OPERATIONS[number.addr()].perform(step::begin);
    STEPS.store(step::end(), Ordering::Relaxed);
    IS_OVER.store(true, Ordering::SeqCst);
    ptr::null_mut()
}

#[test]
fn a_start_at_any_instruction_of_an_operation_counts_every_block_once() {
    step::handle(on_step);
    let operations = [
        Operation::First,
        Operation::NewStack,
        Operation::Free,
        Operation::Realloc,
        Operation::FirstLarge,
        Operation::FreeLarge,
        Operation::Shrink,
        Operation::Untagged,
    ];
    for operation in operations {
        AT.store(NOWHERE, Ordering::Relaxed);
        operation::on_new_thread(worker, operation);
        let steps = STEPS.load(Ordering::Relaxed);
        println!("{operation:?}: {steps} instructions");
        for step in step::chosen(steps, VISITS, BUDGET) {
            AT.store(step, Ordering::Relaxed);
            IS_OVER.store(false, Ordering::SeqCst);
            assert_eq!(child::run(|| start_meanwhile(operation)), Ok(0), "{operation:?}, step {step}");
        }
    }
}

fn start_meanwhile(operation: Operation) -> Result<u8, String> {
    let thread = operation::spawn(worker, operation);
    while !IS_WAITING.load(Ordering::SeqCst) && !IS_OVER.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_micros(100));
    }
    let config = Config::new().modules(["step_start"]).without_history().symbolize(Symbolize::Off);
    let tally = heaptally::start(config).map_err(|error| error.to_string())?;
    let before = tally.snapshot();
    before.check().map_err(|violation| violation.to_string())?;
    IS_STARTED.store(true, Ordering::SeqCst);
    operation::join(thread);
    let after = quiet_snapshot()?;
    let losses = after.losses();
    if losses.unknown_frees.blocks != 0 || losses.no_stack_failed != 0 {
        return Err(format!("{losses:?}"));
    }
    Ok(0)
}
