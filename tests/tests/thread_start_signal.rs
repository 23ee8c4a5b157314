//! A handler that allocates may interrupt a thread in `pthread_getattr_np`, which std calls when a thread starts, and
//! which holds the thread's lock: where the stack lies is then not asked, or the thread would wait for itself for ever.
#![cfg(not(heaptally_portable))]

#[path = "common/bump.rs"]
mod bump;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::alloc::{Layout, alloc};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{mem, ptr, thread};

use bump::Bump;
use conserved::quiet_snapshot;
use heaptally::{Config, Snapshot, TallyAlloc};

/// An allocator that a handler may interrupt.
#[global_allocator]
static ALLOC: TallyAlloc<Bump> = TallyAlloc::new(Bump);

const THREADS: u64 = 10;
/// Blocks of each thread, from one place.
const BLOCKS: u64 = 100;

/// Whether the next call on each thread is interrupted.
static RAISING: AtomicBool = AtomicBool::new(false);
static HANDLED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

type GetAttributes = unsafe extern "C" fn(libc::pthread_t, *mut libc::pthread_attr_t) -> c_int;

/// # Safety
///
/// As the C library's.
// SAFETY: has the signature of the function whose place it takes, and does what that one does.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getattr_np(thread: libc::pthread_t, attributes: *mut libc::pthread_attr_t) -> c_int {
    if INSIDE.replace(true) {
        let message = "thread_start_signal: the bounds of the stack are asked for while they are asked for\n";
        // SAFETY: writes bytes that exist, and ends the process, which might not end otherwise.
        unsafe {
            libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
            libc::abort();
        }
    }
    if RAISING.load(Ordering::SeqCst) {
        // SAFETY: the handler below.
        unsafe { libc::raise(libc::SIGUSR1) };
    }
    // SAFETY: the C library has a function of this name and type; the caller keeps its promises.
    let result = unsafe {
        let next = libc::dlsym(libc::RTLD_NEXT, c"pthread_getattr_np".as_ptr());
        mem::transmute::<*mut c_void, GetAttributes>(next)(thread, attributes)
    };
    INSIDE.set(false);
    result
}

extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
    in_handler();
}

#[inline(never)]
fn in_handler() {
    // SAFETY: the layout is not of size zero. Kept: a block of the handler's.
    black_box(unsafe { alloc(Layout::new::<[u64; 5]>()) });
}

#[inline(never)]
fn in_thread() {
    for _ in 0..BLOCKS {
        drop(black_box(Box::new(black_box([0_u64; 3]))));
    }
}

fn blocks_of(snapshot: &Snapshot, function: &str) -> u64 {
    snapshot.function(function).map_or(0, |row| row.counts().allocated_blocks)
}

#[test]
fn where_a_stack_lies_is_not_asked_in_a_handler() {
    watchdog::abort_unless_done_in(Duration::from_secs(60), "thread_start_signal");
    // SAFETY: a zeroed sigaction is valid; the handler has the type that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()), 0);
    }
    heaptally::start(Config::new().modules(["thread_start_signal"])).unwrap();
    let before = quiet_snapshot().unwrap();
    RAISING.store(true, Ordering::SeqCst);
    for _ in 0..THREADS {
        thread::spawn(in_thread).join().unwrap();
    }
    RAISING.store(false, Ordering::SeqCst);

    let after = quiet_snapshot().unwrap();
    let handled = HANDLED.load(Ordering::SeqCst);
    assert!(handled >= 2 * THREADS, "std does not ask, or heaptally: {handled} of {THREADS} threads");
    // Once by std, with a stack; and by heaptally, in the middle of an allocation of the thread.
    let nested = after.losses().no_stack_nested - before.losses().no_stack_nested;
    assert_eq!(blocks_of(&after, "thread_start_signal::in_handler") + nested, handled);
    assert!(blocks_of(&after, "thread_start_signal::in_handler") >= THREADS);
    assert_eq!(blocks_of(&after, "thread_start_signal::in_thread"), THREADS * BLOCKS);
}
