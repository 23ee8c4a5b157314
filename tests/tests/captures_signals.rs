//! Stacks of signal handlers, raised and at any moment, on the thread's own stack and on an alternate one: each capture
//! is the platform unwinder's, and each block its function's.

#[path = "common/bump.rs"]
mod bump;
#[path = "common/captures.rs"]
mod captures;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{mem, ptr, thread};

use bump::Bump;
use captures::{Way, assert_charged, assert_kinds, counts_of_kind, on_two_threads, snapshot};
use conserved::quiet_snapshot;
use heaptally::{SiteKind, TallyAlloc};

/// An allocator that a handler may interrupt.
#[global_allocator]
static ALLOC: TallyAlloc<Bump> = TallyAlloc::new(Bump);

fn main() {
    captures::main(&[
        ("raised by the program", raised_by_the_program),
        ("at any moment, by a timer", at_any_moment_by_a_timer),
        ("at any moment, from another thread", at_any_moment_from_another_thread),
    ]);
}

/// Handled on the thread's own stack.
const ON_OWN: c_int = libc::SIGUSR1;
/// Handled on the thread's alternate stack.
const ON_ALTERNATE: c_int = libc::SIGUSR2;

static HANDLED: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicBool = AtomicBool::new(false);

fn handle(signal: c_int, flags: c_int) {
    extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
        let handled = HANDLED.fetch_add(1, Ordering::SeqCst);
        in_handler(handled as usize % 4);
    }
    // SAFETY: a zeroed sigaction is valid; the handler has the type that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(_, _, _) as usize;
        action.sa_flags = flags | libc::SA_SIGINFO | libc::SA_RESTART;
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

/// A block of 40 bytes on each of five levels at most, the last one kept.
#[inline(never)]
fn in_handler(calls: usize) {
    let layout = Layout::new::<[u64; 5]>();
    // SAFETY: the layout is not of size zero, and the block is freed once.
    unsafe { dealloc(black_box(alloc(layout)), layout) };
    if let Some(calls) = calls.checked_sub(1) {
        in_handler(calls);
    }
    black_box(calls);
}

/// 24 bytes, on one of 64 stacks.
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

/// Runs `body` with an alternate stack for the signals of the calling thread, on the heap or above all its frames.
#[inline(never)]
fn with_alternate_stack(body: impl FnOnce()) {
    let mut stack = [mem::MaybeUninit::<u8>::uninit(); 128 << 10];
    let set = |stack: &libc::stack_t| {
        // SAFETY: the stack given outlives its use: it is taken back below.
        assert_eq!(unsafe { libc::sigaltstack(stack, ptr::null_mut()) }, 0);
    };
    set(&libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() });
    body();
    set(&libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 });
    black_box(&mut stack);
}

fn raised_by_the_program(way: Way) {
    handle(ON_OWN, 0);
    handle(ON_ALTERNATE, libc::SA_ONSTACK);
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        with_alternate_stack(|| {
            for path in 64..128 {
                for signal in [ON_OWN, ON_ALTERNATE, ON_ALTERNATE, ON_OWN] {
                    in_program(path);
                    // SAFETY: handled above.
                    unsafe { libc::raise(signal) };
                }
            }
        });
    });
    assert_charged(
        &snapshot(way),
        &[
            ("captures_signals::in_program", 2 * 64 * 4, 24),
            // 1, 2, 3 and 4 blocks by turns.
            ("captures_signals::in_handler", 2 * 64 * (1 + 2 + 3 + 4), 40),
        ],
    );
}

/// Blocks of the first `handled` handlers.
fn by_handlers(handled: u64) -> u64 {
    handled / 4 * 10 + [0, 1, 3, 6][handled as usize % 4]
}

/// Compares what the program and its handlers have allocated, `programs` blocks and the handlers', with what they are
/// charged for: handlers that interrupted the allocator have no stack.
fn assert_counted(way: Way, programs: u64) {
    let snapshot = quiet_snapshot().unwrap();
    assert_kinds(way, &snapshot);
    assert_eq!(snapshot.captures().implausible, 0);
    assert_charged(&snapshot, &[("captures_signals::in_program", programs, 24)]);
    let charged = snapshot.function("captures_signals::in_handler").map_or(0, |row| row.counts().allocated_blocks);
    let nested = counts_of_kind(&snapshot, SiteKind::NoStack).allocated_blocks;
    let handled = HANDLED.load(Ordering::SeqCst);
    assert_eq!(charged + nested, by_handlers(handled));
    assert_eq!(snapshot.losses().no_stack_nested, nested);
    assert_eq!(counts_of_kind(&snapshot, SiteKind::Overflow).allocated_blocks, 0);
    println!("{handled} handlers, {charged} blocks charged and {nested} not");
}

fn at_any_moment_by_a_timer(way: Way) {
    handle(libc::SIGPROF, libc::SA_ONSTACK);
    heaptally::start(way.config()).unwrap();
    static BLOCKS: AtomicU64 = AtomicU64::new(0);
    fn every(us: libc::suseconds_t) {
        let interval = libc::timeval { tv_sec: 0, tv_usec: us };
        let timer = libc::itimerval { it_interval: interval, it_value: interval };
        // SAFETY: reads one structure.
        assert_eq!(unsafe { libc::setitimer(libc::ITIMER_PROF, &timer, ptr::null_mut()) }, 0);
    }
    // Timers are as fine as the kernel's tick: some hundred a second.
    every(500);
    on_two_threads(|| {
        with_alternate_stack(|| {
            let handled = HANDLED.load(Ordering::SeqCst);
            let mut blocks = 0;
            while HANDLED.load(Ordering::SeqCst) < handled + 100 {
                in_program(64 + blocks % 64);
                blocks += 1;
            }
            BLOCKS.fetch_add(blocks, Ordering::SeqCst);
        });
    });
    every(0);
    assert_counted(way, BLOCKS.load(Ordering::SeqCst));
}

fn at_any_moment_from_another_thread(way: Way) {
    const SIGNALS: usize = 2_000;
    handle(ON_OWN, 0);
    handle(ON_ALTERNATE, libc::SA_ONSTACK);
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| ());
    static READY: AtomicU64 = AtomicU64::new(0);
    let body = || {
        let mut blocks = 0;
        with_alternate_stack(|| {
            in_program(64);
            blocks += 1;
            READY.fetch_add(1, Ordering::SeqCst);
            while !OVER.load(Ordering::SeqCst) {
                in_program(64 + blocks % 64);
                blocks += 1;
                if blocks % 256 == 0 {
                    // Bounds what the arena is asked for.
                    thread::sleep(Duration::from_micros(200));
                }
            }
        });
        blocks
    };
    let threads = [thread::spawn(body), thread::spawn(body)];
    // Before, they have std's alternate stack, which is too small for a handler in a handler.
    while READY.load(Ordering::SeqCst) < 2 {
        thread::yield_now();
    }
    for number in 0..SIGNALS {
        let signal = if number % 4 < 2 { ON_OWN } else { ON_ALTERNATE };
        // SAFETY: the threads run until OVER is set.
        assert_eq!(unsafe { libc::pthread_kill(threads[number % 2].as_pthread_t(), signal) }, 0);
        thread::sleep(Duration::from_micros((number as u64 * 7_919) % 256));
    }
    OVER.store(true, Ordering::SeqCst);
    let blocks = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_counted(way, blocks);
}
