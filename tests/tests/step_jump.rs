//! A handler that leaves the hook by a jump, at any instruction: the thread goes on in another function, allocates or
//! not, and ends. Nothing is lost but the operation that was left, which is counted as abandoned or was not begun.
//!
//! The jump is that of `abandoned.rs`. Bound: 50,000 steps, and 60 jumps, of an
//! operation; `HEAPTALLY_STEPS=all` jumps out of every instruction.
#![cfg(not(heaptally_portable))]

#[path = "common/bump.rs"]
mod bump;
#[path = "common/child.rs"]
mod child;
#[path = "common/operation.rs"]
mod operation;
#[path = "common/placing.rs"]
mod placing;
#[path = "common/program.rs"]
mod program;
#[path = "common/step.rs"]
mod step;

use std::alloc::{Layout, alloc};
use std::cell::Cell;
use std::ffi::c_void;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use heaptally::{Config, Counts, OnMismatch, Snapshot, TallyAlloc};
use operation::{OPERATIONS, Operation};
use placing::Placing;

#[global_allocator]
static ALLOC: TallyAlloc<Placing> = TallyAlloc::new(Placing);

/// Jumps out of one operation, and steps to get there.
const VISITS: u64 = 60;
const BUDGET: u64 = 50_000;
const LANDED_BYTES: usize = 48;
/// How long the test's own threads may take to fall quiet.
const PATIENCE: Duration = Duration::from_secs(10);
/// The handler does not jump.
const NOWHERE: u64 = u64::MAX;
/// The thread is not stepped through.
const UNSTEPPED: u64 = u64::MAX - 1;

/// Where the handler jumps.
static AT: AtomicU64 = AtomicU64::new(NOWHERE);
static JUMPS: AtomicU64 = AtomicU64::new(0);
static STEPS: AtomicU64 = AtomicU64::new(0);
static ALLOCATES_AFTERWARDS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The first word below the top of the stack to land on.
    static LANDING: Cell<usize> = const { Cell::new(0) };
}

fn on_step(step: u64, context: &mut libc::ucontext_t) {
    // What libc was about to do must be done.
    if step >= AT.load(Ordering::Relaxed) && program::is_interrupted(context) {
        JUMPS.fetch_add(1, Ordering::Relaxed);
        step::end();
        let registers = &mut context.uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = landed as *const () as i64;
        registers[libc::REG_RSP as usize] = LANDING.get() as i64;
        registers[libc::REG_RBP as usize] = 0;
    }
}

unsafe extern "C-unwind" {
    /// libc's, which unwinds the caller.
    fn pthread_exit(result: *mut c_void) -> !;
}

/// Where the thread goes on. Has no caller, so it cannot return.
extern "C-unwind" fn landed() -> ! {
    if ALLOCATES_AFTERWARDS.load(Ordering::Relaxed) {
        after_the_jump();
    }
    // SAFETY: ends the thread as its function's return would; there is no frame with a destructor.
    unsafe { pthread_exit(ptr::null_mut()) }
}

#[inline(never)]
fn after_the_jump() {
    // SAFETY: the size is not zero.
    black_box(unsafe { alloc(black_box(Layout::from_size_align_unchecked(LANDED_BYTES, 8))) });
}

/// Performs the operation, stepping, with room for the thread's second life above the frames of the first.
extern "C" fn worker(number: *mut c_void) -> *mut c_void {
    let mut stack = [MaybeUninit::<u128>::uninit(); 4 << 10];
    // A function is entered with its return address on the stack, eight bytes off the alignment. A zero ends the
    // unwinding there.
    let top = &mut stack[(4 << 10) - 4..];
    top.fill(MaybeUninit::zeroed());
    LANDING.set(top.as_mut_ptr().expose_provenance() + 24);
    perform(OPERATIONS[number.addr()]);
    black_box(&mut stack);
    ptr::null_mut()
}

#[inline(never)]
fn perform(operation: Operation) {
    let is_stepped = AT.load(Ordering::Relaxed) != UNSTEPPED;
    operation.perform(if is_stepped { step::begin } else { || () });
    STEPS.store(step::end(), Ordering::Relaxed);
}

#[test]
fn a_jump_out_of_any_instruction_loses_at_most_the_operation_that_was_left() {
    for afterwards in [false, true] {
        ALLOCATES_AFTERWARDS.store(afterwards, Ordering::Relaxed);
        // A verified capture does not take the quickest way.
        let verified = afterwards;
        assert_eq!(child::run(|| jumps_everywhere(verified).map(|()| 0)), Ok(0), "{afterwards}");
    }
}

fn jumps_everywhere(verified: bool) -> Result<(), String> {
    step::handle(on_step);
    let mut config = Config::new().modules(["step_jump"]).without_history();
    if verified {
        config = config.verify_captures(NonZeroU32::MIN, OnMismatch::Abort);
    }
    heaptally::start(config).map_err(|error| error.to_string())?;
    operation::old::prepare();
    for operation in
        OPERATIONS.into_iter().filter(|operation| !matches!(operation, Operation::AskLibc | Operation::EndThread))
    {
        // Once for the rules: from then on it takes as many instructions each time.
        AT.store(UNSTEPPED, Ordering::Relaxed);
        operation::on_new_thread(worker, operation);
        AT.store(NOWHERE, Ordering::Relaxed);
        operation::on_new_thread(worker, operation);
        let steps = STEPS.load(Ordering::Relaxed);
        let before = (quiet_snapshot()?, JUMPS.load(Ordering::Relaxed));
        for step in step::chosen(steps, VISITS, BUDGET) {
            AT.store(step, Ordering::Relaxed);
            operation::on_new_thread(worker, operation);
        }
        // The next owners of the states.
        AT.store(UNSTEPPED, Ordering::Relaxed);
        operation::on_new_thread(worker, Operation::NewStack);
        let after = quiet_snapshot()?;
        let jumps = JUMPS.load(Ordering::Relaxed) - before.1;
        println!("{operation:?}: {steps} instructions, {jumps} jumps, {} abandoned", after.losses().abandoned);
        assert!(jumps > 0);
        assert_losses(&before.0, &after, jumps);
    }
    Ok(())
}

/// A snapshot of a moment at which no operation was in progress: those that were left are not any more.
fn quiet_snapshot() -> Result<Snapshot, String> {
    let begun = Instant::now();
    loop {
        let snapshot = heaptally::snapshot();
        snapshot.check().map_err(|violation| violation.to_string())?;
        if snapshot.is_quiet() {
            return Ok(snapshot);
        }
        if begun.elapsed() > PATIENCE {
            return Err("an operation never ends".to_owned());
        }
    }
}

fn assert_losses(before: &Snapshot, after: &Snapshot, jumps: u64) {
    let losses = after.losses();
    let abandoned = losses.abandoned - before.losses().abandoned;
    assert!(abandoned <= jumps, "{abandoned} of {jumps}");
    assert_eq!((losses.no_stack_nested, losses.no_stack_failed, losses.unknown_frees.blocks), (0, 0, 0), "{losses:?}");
    assert_eq!((after.captures().implausible, after.captures().mismatched), (0, 0));
    // A state is out of use for each operation that was left, and for each jump out of a registration.
    assert!(after.overhead().threads - before.overhead().threads <= jumps + 1);
    if ALLOCATES_AFTERWARDS.load(Ordering::Relaxed) {
        let counts = |snapshot: &Snapshot| {
            snapshot.function("step_jump::after_the_jump").map_or(Counts::ZERO, |row| row.counts())
        };
        let kept = Counts { allocated_blocks: jumps, allocated_bytes: LANDED_BYTES as u64 * jumps, ..Counts::ZERO };
        let kept_here = counts(after) - counts(before);
        assert_eq!(kept_here, kept);
    }
}
