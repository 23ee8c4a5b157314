//! A handler that allocates and leaves by C's own `siglongjmp`, at random moments, from the thread's stack and from an
//! alternate one: what it allocated is counted, the thread has stacks again, and no more is lost than operations were left.
//!
//! `abandoned.rs` and `step_jump.rs` choose the instruction, and make the jump by hand.
#![cfg(not(heaptally_portable))]

#[path = "common/bump.rs"]
mod bump;
#[path = "common/program.rs"]
mod program;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bump::Bump;
use heaptally::{Config, Counts, SiteKind, Snapshot, TallyAlloc};
// Has the functions of `c/jump.c`.
use heaptally_tests as _;

/// An allocator that a handler may interrupt, and leave.
#[global_allocator]
static ALLOC: TallyAlloc<Bump> = TallyAlloc::new(Bump);

/// Jumps of each thread.
const JUMPS: u64 = 300;
/// A thread is interrupted so often, by a clock of its own.
const PERIOD_NS: i64 = 200_000;
const STACK_BYTES: usize = 256 << 10;
/// Blocks of each thread after its last jump.
const AFTERWARDS: u64 = 100;
/// How long the test's own threads may take to fall quiet.
const PATIENCE: Duration = Duration::from_secs(10);

static HANDLED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_MARKED: Cell<bool> = const { Cell::new(false) };
    static JUMPED: Cell<u64> = const { Cell::new(0) };
    /// Blocks that [`in_program`] has been given, and has given back.
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
    static FREED: Cell<u64> = const { Cell::new(0) };
}

unsafe extern "C-unwind" {
    fn call_with_mark(call: extern "C-unwind" fn(*mut c_void), argument: *mut c_void) -> c_int;
    fn jump_to_mark() -> !;
}

extern "C-unwind" fn on_signal(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the third argument of a handler is the context that the kernel resumes.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    // What libc was about to do must be done.
    if !IS_MARKED.get() || !program::is_interrupted(context) {
        return;
    }
    HANDLED.fetch_add(1, Ordering::SeqCst);
    in_handler();
    IS_MARKED.set(false);
    JUMPED.set(JUMPED.get() + 1);
    // SAFETY: inside of the call with a mark, between whose frames and this one none has a destructor.
    unsafe { jump_to_mark() }
}

/// 40 bytes, kept.
#[inline(never)]
fn in_handler() {
    // SAFETY: not of zero size.
    black_box(unsafe { alloc(black_box(Layout::new::<[u64; 5]>())) });
}

/// 24 bytes on one of 64 stacks, given back at once, over and over. No frame has a destructor.
extern "C-unwind" fn work(_: *mut c_void) {
    IS_MARKED.set(true);
    loop {
        in_program(64 + ALLOCATED.get() % 64);
    }
}

#[inline(never)]
fn in_program(path: u64) {
    match path {
        0 | 1 => {
            let layout = black_box(Layout::new::<[u64; 3]>());
            // SAFETY: not of zero size.
            let block = black_box(unsafe { alloc(layout) });
            ALLOCATED.set(ALLOCATED.get() + 1);
            // SAFETY: allocated with this layout.
            unsafe { dealloc(block, layout) };
            FREED.set(FREED.get() + 1);
        }
        odd if odd % 2 == 1 => in_program(path / 2),
        _ => {
            in_program(path / 2);
            black_box(());
        }
    }
}

#[inline(never)]
fn afterwards() {
    for _ in 0..AFTERWARDS {
        // SAFETY: as in `in_handler`.
        black_box(unsafe { alloc(black_box(Layout::new::<[u64; 7]>())) });
    }
}

/// A clock that signals the calling thread, until it is dropped.
struct Clock(libc::timer_t);

impl Clock {
    fn begin() -> Self {
        // SAFETY: zeroed structures are valid, and filled as `timer_create` and `timer_settime` ask.
        unsafe {
            let mut event: libc::sigevent = mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGUSR1;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer = mem::zeroed();
            assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
            let period = libc::timespec { tv_sec: 0, tv_nsec: PERIOD_NS };
            let times = libc::itimerspec { it_interval: period, it_value: period };
            assert_eq!(libc::timer_settime(timer, 0, &times, ptr::null_mut()), 0);
            Self(timer)
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // SAFETY: made by `begin`, deleted once.
        assert_eq!(unsafe { libc::timer_delete(self.0) }, 0);
    }
}

/// What a thread allocated and freed in [`in_program`].
fn jump_and_go_on() -> [u64; 2] {
    let clock = Clock::begin();
    while JUMPED.get() < JUMPS {
        // SAFETY: the body's frames, and those of the handler, have no destructors.
        assert_eq!(unsafe { call_with_mark(work, ptr::null_mut()) }, 1);
    }
    drop(clock);
    afterwards();
    [ALLOCATED.get(), FREED.get()]
}

/// Runs `f` with an alternate stack for signals that lies above all frames of `f`.
#[inline(never)]
fn on_a_stack_further_up<R>(f: impl FnOnce() -> R) -> R {
    let mut stack = [MaybeUninit::<u8>::uninit(); STACK_BYTES];
    let set = |stack: &libc::stack_t| {
        // SAFETY: the stack given outlives its use: it is taken back below.
        assert_eq!(unsafe { libc::sigaltstack(stack, ptr::null_mut()) }, 0);
    };
    set(&libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() });
    let result = f();
    set(&libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 });
    black_box(&mut stack);
    result
}

/// On the stack that it interrupts, unless `flags` say otherwise.
fn handle(flags: c_int) {
    // SAFETY: a zeroed sigaction is valid; the handler has the type that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | flags;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()), 0);
    }
}

/// A snapshot of a moment at which no operation was in progress.
fn quiet_snapshot() -> Snapshot {
    let begun = Instant::now();
    loop {
        let snapshot = heaptally::snapshot();
        assert_eq!(snapshot.check(), Ok(()));
        if snapshot.is_quiet() {
            return snapshot;
        }
        assert!(begun.elapsed() < PATIENCE, "an operation never ends");
    }
}

fn counts_of(snapshot: &Snapshot, function: &str) -> Counts {
    snapshot.function(function).map_or(Counts::ZERO, |row| row.counts())
}

#[test]
fn a_thread_that_jumps_out_of_handlers_keeps_its_stacks_and_its_counts() {
    watchdog::abort_unless_done_in(Duration::from_secs(60), "siglongjmp");
    heaptally::start(Config::new().modules(["siglongjmp"])).unwrap();
    let before = quiet_snapshot();
    handle(0);
    let [allocated, freed] = thread::spawn(jump_and_go_on).join().unwrap();
    handle(libc::SA_ONSTACK);
    let further_up = || on_a_stack_further_up(jump_and_go_on);
    let there = thread::Builder::new().stack_size(4 * STACK_BYTES).spawn(further_up).unwrap().join().unwrap();
    let (allocated, freed) = (allocated + there[0], freed + there[1]);

    let after = quiet_snapshot();
    let (losses, jumps) = (after.losses(), 2 * JUMPS);
    println!("{allocated} blocks, {} of {jumps} jumps out of an operation", losses.abandoned);
    let blocks = 2 * AFTERWARDS;
    let kept = Counts { allocated_blocks: blocks, allocated_bytes: 56 * blocks, ..Counts::ZERO };
    assert_eq!(counts_of(&after, "siglongjmp::afterwards"), kept);
    // Of a handler in the middle of an operation nobody knows the stack.
    let nested = counts_of(&after, SiteKind::NoStack.label()) - counts_of(&before, SiteKind::NoStack.label());
    assert_eq!(losses.no_stack_nested - before.losses().no_stack_nested, nested.allocated_blocks);
    let by_handlers = Counts { allocated_blocks: jumps, allocated_bytes: 40 * jumps, ..Counts::ZERO };
    assert_eq!(counts_of(&after, "siglongjmp::in_handler") + nested, by_handlers);
    assert_eq!(HANDLED.load(Ordering::SeqCst), jumps);
    // What was left was counted before the program knew, or was not.
    let counted = counts_of(&after, "siglongjmp::in_program");
    for (counted, known) in [(counted.allocated_blocks, allocated), (counted.freed_blocks, freed)] {
        assert!((known..=known + jumps).contains(&counted), "{counted} counted, {known} known");
    }
    assert_eq!(losses.unknown_frees.blocks, 0);
    let left = losses.abandoned - before.losses().abandoned;
    assert!((1..=jumps).contains(&left), "{left} of {jumps}");
    // A state is out of use for each operation that was left, and for each jump out of a registration.
    assert!(after.overhead().threads - before.overhead().threads <= jumps + 1);
}
