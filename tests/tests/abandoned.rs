//! A thread that leaves the allocator by a jump out of a signal handler goes on with its stacks, and nothing is lost.
//!
//! The jump is that of `siglongjmp`, made without it: a function that returns twice cannot be called from Rust. The
//! handler changes where the interrupted thread goes on: in another function, on a stack that lies further up, in the
//! frame of an outer function. What was interrupted stays where it was and is never resumed, so that no frame is left
//! without its destructors having a claim.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/signals.rs"]
mod signals;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, OnMismatch, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const THREADS: u32 = 4;
const KEPT: u64 = 100;

/// Threads that have landed, and done their work.
static LANDED: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The first word below the top of the stack to land on.
    static LANDING: Cell<usize> = const { Cell::new(0) };
}

extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the third argument of a handler is the context that the kernel resumes.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    registers[libc::REG_RIP as usize] = landed as *const () as i64;
    registers[libc::REG_RSP as usize] = LANDING.get() as i64;
    registers[libc::REG_RBP as usize] = 0;
}

/// Where the thread goes on. Has no caller, so it cannot return.
extern "C" fn landed() -> ! {
    let kept = after_the_jump();
    LANDED.fetch_add(1, Ordering::SeqCst);
    // The handler's thread cannot end in an orderly way: half of its frames are gone. It sleeps for the rest of the
    // process's life.
    loop {
        thread::sleep(Duration::from_secs(3600));
        black_box(&kept);
    }
}

#[inline(never)]
fn after_the_jump() -> [Box<[u8; 50]>; KEPT as usize] {
    std::array::from_fn(|_| Box::new(black_box([7; 50])))
}

/// Room for the second life of the thread, above the frames of the first.
#[inline(never)]
fn outer() {
    let mut stack = [MaybeUninit::<u128>::uninit(); 16 << 10];
    // A function is entered with its return address on the stack, eight bytes off the alignment. A zero ends the
    // unwinding there.
    let top = &mut stack[(16 << 10) - 4..];
    top.fill(MaybeUninit::zeroed());
    LANDING.set(top.as_mut_ptr().expose_provenance() + 24);
    interrupted();
    black_box(&mut stack);
}

#[inline(never)]
fn interrupted() {
    drop(black_box(Box::new(black_box([1_u8; 30]))));
    signals::raise_in_hook(libc::SIGUSR1);
    drop(black_box(Box::new(black_box([1_u8; 30]))));
    unreachable!("the handler leads away from here");
}

/// Where [`leave_and_return`] goes on.
static RETURN: Mutex<Option<[i64; 23]>> = Mutex::new(None);

extern "C" fn on_mark(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: as in `on_signal`.
    let registers = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    *RETURN.lock().unwrap() = Some(registers);
}

extern "C" fn on_leave(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: as in `on_signal`.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    *registers = RETURN.lock().unwrap().take().expect("a mark");
}

/// Jumps out of the allocator to where it has been before.
#[inline(never)]
fn leave_and_return() {
    static HAS_LEFT: AtomicBool = AtomicBool::new(false);
    // SAFETY: raises a signal. Comes by here twice, with the same registers; the frame is the same, and nothing in it
    // has changed.
    unsafe { std::arch::asm!("int3") };
    if !HAS_LEFT.swap(true, Ordering::SeqCst) {
        signals::raise_in_hook(libc::SIGUSR2);
        std::mem::forget(black_box(Box::new(black_box([1_u8; 30]))));
        unreachable!("the handler leads away from here");
    }
}

fn a_measure_goes_on_across_a_jump() {
    signals::handle(libc::SIGTRAP, on_mark);
    signals::handle(libc::SIGUSR2, on_leave);
    let block = |bytes| drop(black_box(Vec::<u8>::with_capacity(black_box(bytes))));
    let ((), counted) = heaptally::measure(|| {
        block(100);
        leave_and_return();
        block(28);
    });
    // The block whose stack was being taken is not counted yet.
    assert_eq!(counted, Counts { allocated_blocks: 2, allocated_bytes: 128, freed_blocks: 2, freed_bytes: 128 });
}

/// Every capture is compared with the platform's unwinder, whose place `signals` has taken.
fn config() -> Config {
    Config::new().modules(["abandoned"]).verify_captures(NonZeroU32::MIN, OnMismatch::Abort)
}

#[test]
fn a_thread_that_jumped_out_of_the_allocator_has_stacks_again() {
    watchdog::abort_unless_done_in(Duration::from_secs(60), "abandoned");
    signals::handle(libc::SIGUSR1, on_signal);
    heaptally::start(config()).unwrap();
    for n in 1..=THREADS {
        thread::spawn(outer);
        while LANDED.load(Ordering::SeqCst) < n {
            thread::sleep(Duration::from_millis(1));
        }
    }
    // The block that was being counted at the jump is counted nowhere, so rows and totals agree.
    let snapshot = quiet_snapshot().unwrap();
    let rows = snapshot.by_function();
    let sum_of = |name: &str| {
        let rows = rows.iter().filter(|row| row.function().starts_with(name));
        rows.fold(Counts::ZERO, |sum, row| sum + row.counts())
    };
    let blocks = u64::from(THREADS) * KEPT;
    let kept = Counts { allocated_blocks: blocks, allocated_bytes: 50 * blocks, ..Counts::ZERO };
    assert_eq!(sum_of("abandoned::after_the_jump"), kept);
    let blocks = u64::from(THREADS);
    let first = Counts {
        allocated_blocks: blocks,
        allocated_bytes: 30 * blocks,
        freed_blocks: blocks,
        freed_bytes: 30 * blocks,
    };
    assert_eq!(sum_of("abandoned::interrupted"), first);
    assert_eq!(snapshot.losses().no_stack_nested, 0);
    assert_eq!(snapshot.losses().abandoned, u64::from(THREADS));

    a_measure_goes_on_across_a_jump();
    assert_eq!(quiet_snapshot().unwrap().losses().abandoned, u64::from(THREADS) + 1);
}
