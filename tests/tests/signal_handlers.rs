//! Handlers that allocate, at any moment, on either stack: every block is counted once, and charged or shown.
#![cfg(not(heaptally_portable))]

#[path = "common/bump.rs"]
mod bump;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/signals.rs"]
mod signals;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bump::Bump;
use conserved::quiet_snapshot;
use heaptally::{Config, Counts, OnMismatch, SiteKind, Snapshot, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc<Bump> = TallyAlloc::new(Bump);

/// Interruptions of the allocator at a chosen place, and at random moments.
const CHOSEN: u64 = 500;
const RANDOM: u64 = 6_000;

/// Two blocks of 40 bytes in each run of the handler, one of them freed.
const BYTES: usize = 40;
static HANDLED: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
    in_handler();
}

#[inline(never)]
fn in_handler() {
    // SAFETY: the layout is not of size zero, and the block is freed once.
    unsafe {
        let layout = Layout::from_size_align_unchecked(BYTES, 8);
        let freed = black_box(alloc(layout));
        black_box(alloc(layout));
        dealloc(freed, layout);
    }
}

fn by_handler(runs: u64) -> Counts {
    let bytes = BYTES as u64;
    Counts {
        allocated_blocks: 2 * runs,
        allocated_bytes: 2 * bytes * runs,
        freed_blocks: runs,
        freed_bytes: bytes * runs,
    }
}

/// 24 bytes, on one of 64 stacks, freed at once.
#[inline(never)]
fn in_program(path: u64) {
    match path {
        0 | 1 => drop(black_box(Box::new(black_box([0_u64; 3])))),
        odd if odd % 2 == 1 => in_program(path / 2),
        _ => {
            in_program(path / 2);
            black_box(());
        }
    }
}

fn by_program(runs: u64) -> Counts {
    Counts { allocated_blocks: runs, allocated_bytes: 24 * runs, freed_blocks: runs, freed_bytes: 24 * runs }
}

/// Of one function, exactly as named: the standard library's frames inside of it are charged to it.
fn counts_of(snapshot: &Snapshot, function: &str) -> Counts {
    snapshot.function(function).map_or(Counts::ZERO, |row| row.counts())
}

fn without_stack(snapshot: &Snapshot) -> Counts {
    let row = snapshot.by_function().into_iter().find(|row| row.kind() == SiteKind::NoStack);
    row.map_or(Counts::ZERO, |row| row.counts())
}

/// Every capture is compared with the platform's unwinder, whose place `signals` has taken.
fn config() -> Config {
    Config::new().modules(["signal_handlers"]).verify_captures(NonZeroU32::MIN, OnMismatch::Abort)
}

#[test]
fn what_handlers_allocate_is_counted_once_and_charged_or_shown() {
    watchdog::abort_unless_done_in(Duration::from_secs(120), "signal_handlers");
    signals::handle(libc::SIGUSR1, on_signal);
    heaptally::start(config()).unwrap();
    let before = quiet_snapshot().unwrap();
    assert_eq!(without_stack(&before), Counts::ZERO);

    a_handler_that_interrupts_nothing_is_charged_like_a_function();
    a_handler_inside_the_allocator_counts_without_a_stack();
    thread::spawn(|| on_a_stack_further_up(a_handler_inside_the_allocator_counts_without_a_stack)).join().unwrap();
    // Three times with a state of its own: no thread was taken for one that had left the allocator by a jump.
    let threads = quiet_snapshot().unwrap().overhead().threads;
    handlers_at_random_moments_lose_nothing();
    let after = quiet_snapshot().unwrap();
    assert!(after.overhead().threads <= threads + 3, "{} and {threads} states", after.overhead().threads);
}

fn a_handler_that_interrupts_nothing_is_charged_like_a_function() {
    let before = quiet_snapshot().unwrap();
    let runs = 10;
    for _ in 0..runs {
        // SAFETY: the handler above.
        unsafe { libc::raise(libc::SIGUSR1) };
    }
    let after = quiet_snapshot().unwrap();
    let change = |function| counts_of(&after, function) - counts_of(&before, function);
    assert_eq!(change("signal_handlers::in_handler"), by_handler(runs));
}

fn a_handler_inside_the_allocator_counts_without_a_stack() {
    let before = quiet_snapshot().unwrap();
    let handled = HANDLED.load(Ordering::SeqCst);
    for run in 0..CHOSEN {
        signals::raise_in_hook(libc::SIGUSR1);
        in_program(64 + run % 64);
    }
    assert_eq!(HANDLED.load(Ordering::SeqCst) - handled, CHOSEN);
    let after = quiet_snapshot().unwrap();
    assert_eq!(without_stack(&after) - without_stack(&before), by_handler(CHOSEN));
    assert_eq!(after.losses().no_stack_nested - before.losses().no_stack_nested, 2 * CHOSEN);
    // The block whose stack was being taken is charged as if nothing had happened.
    let function = "signal_handlers::in_program";
    assert_eq!(counts_of(&after, function) - counts_of(&before, function), by_program(CHOSEN));
}

/// Runs `f` with an alternate stack for signals that lies above all frames of `f`: a handler's frames are then
/// further up than those of the allocator that it interrupted, as they are after a jump out of a handler.
#[inline(never)]
fn on_a_stack_further_up(f: impl FnOnce()) {
    let mut stack = [MaybeUninit::<u8>::uninit(); 256 << 10];
    let set = |stack: &libc::stack_t| {
        // SAFETY: the stack given outlives its use: it is taken back below.
        assert_eq!(unsafe { libc::sigaltstack(stack, std::ptr::null_mut()) }, 0);
    };
    set(&libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() });
    f();
    set(&libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 });
    black_box(&mut stack);
}

fn handlers_at_random_moments_lose_nothing() {
    let before = quiet_snapshot().unwrap();
    let handled = HANDLED.load(Ordering::SeqCst);
    let body = || {
        let mut runs = 0;
        while !OVER.load(Ordering::SeqCst) {
            in_program(64 + runs % 64);
            runs += 1;
            if runs % 256 == 0 {
                // Bounds what the arena is asked for.
                thread::sleep(Duration::from_micros(200));
            }
        }
        runs
    };
    let threads = [
        thread::spawn(body),
        thread::spawn(move || {
            let mut runs = 0;
            on_a_stack_further_up(|| runs = body());
            runs
        }),
    ];
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for n in 0..RANDOM {
        random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        // SAFETY: the thread runs until OVER is set.
        assert_eq!(unsafe { libc::pthread_kill(threads[n as usize % 2].as_pthread_t(), libc::SIGUSR1) }, 0);
        thread::sleep(Duration::from_micros(random >> 33 & 0xff));
    }
    OVER.store(true, Ordering::SeqCst);
    let runs = threads.into_iter().map(|thread| thread.join().unwrap()).sum();

    let after = quiet_snapshot().unwrap();
    let change = |function| counts_of(&after, function) - counts_of(&before, function);
    assert_eq!(change("signal_handlers::in_program"), by_program(runs));
    let nested = without_stack(&after) - without_stack(&before);
    let handled = HANDLED.load(Ordering::SeqCst) - handled;
    assert_eq!(change("signal_handlers::in_handler") + nested, by_handler(handled));
    assert_eq!(after.losses().no_stack_nested - before.losses().no_stack_nested, nested.allocated_blocks);
    println!("{handled} handlers, {} blocks of theirs inside of the allocator", nested.allocated_blocks);
}
