//! What runs inside the allocator never allocates, and once it knows the program's stacks makes no system call.
#![cfg(not(heaptally_portable))]

#[path = "common/bump.rs"]
mod bump;
#[path = "common/child.rs"]
mod child;
#[path = "common/system_calls.rs"]
mod system_calls;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::hint::black_box;
use std::thread;

use bump::Bump;
use heaptally::{Config, Symbolize, TallyAlloc};
use heaptally_tests::{assert_conserved, stacks, workload};

/// Ends the process when the allocator inside it calls the global allocator, which it is part of.
struct Alone<A>(A);

#[global_allocator]
static ALLOC: Alone<TallyAlloc<Bump>> = Alone(TallyAlloc::new(Bump));

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl<A> Alone<A> {
    fn enter<R>(&self, f: impl FnOnce(&A) -> R) -> R {
        if INSIDE.replace(true) {
            let message = "hook_alone: the allocator has called itself\n";
            // SAFETY: writes bytes that exist, and ends the process; a panic would allocate.
            unsafe {
                libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
                libc::abort();
            }
        }
        let result = f(&self.0);
        INSIDE.set(false);
        result
    }
}

// SAFETY: hands everything to the allocator inside; a thread-local without destructor neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Alone<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        self.enter(|inner| unsafe { inner.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        self.enter(|inner| unsafe { inner.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        self.enter(|inner| unsafe { inner.dealloc(address, layout) });
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        self.enter(|inner| unsafe { inner.realloc(address, layout, new_size) })
    }
}

const THREADS: u64 = 4;
const OPERATIONS: usize = 2000;
const STACKS: usize = 100;
/// Until every stack has its id, its counters and its place in a cache.
const WARM_ROUNDS: usize = 20;
const ROUNDS: usize = 50;

/// One test: tracking starts once.
#[test]
fn the_hook_neither_allocates_nor_makes_a_system_call_in_steady_state() {
    no_system_call_in_steady_state();
    never_reentered();
}

/// First allocations of threads, new stacks, full rings, a pause, torn-down threads, snapshots meanwhile.
fn never_reentered() {
    let work = |seed| {
        workload::churn(seed, OPERATIONS);
        (0..1000).for_each(|number| stacks::at(number, 3, &mut || drop(black_box(Box::new(number)))));
    };
    let storm = || {
        thread::scope(|scope| {
            for seed in 0..THREADS {
                scope.spawn(move || work(seed));
            }
            for _ in 0..3 {
                assert_eq!(heaptally::snapshot().check(), Ok(()));
            }
        });
    };
    storm();
    let tally = start(16 << 10);
    storm();
    tally.pause();
    storm();
    tally.resume();
    assert_conserved("after the storm");
}

fn start(ring_bytes: usize) -> heaptally::Tally {
    heaptally::start(Config::new().symbolize(Symbolize::Off).ring_bytes(ring_bytes)).expect("installed")
}

/// Every method, on a hundred stacks, and frees of another thread's blocks.
#[expect(clippy::vec_box, reason = "the boxes are blocks of another thread")]
fn operations(of_another_thread: &mut Vec<Box<u64>>) {
    for number in 0..STACKS {
        stacks::at(number, 2, &mut || {
            let mut grown = black_box(vec![0_u8; black_box(24)]);
            grown.extend_from_slice(&[1; 40]);
            drop(black_box(grown));
            drop(black_box(Box::new(number)));
            drop(black_box(of_another_thread.pop()));
        });
    }
}

fn no_system_call_in_steady_state() {
    // In children, because a filter stays. The first has tracking on, the second is before the start, and the third
    // makes a system call, to see that the filter works.
    let quiet = |tracking: bool| {
        move || {
            if tracking {
                start(4 << 20);
            }
            let count = (STACKS * (WARM_ROUNDS + ROUNDS)) as u64;
            let mut blocks: Vec<_> = thread::spawn(move || (0..count).map(Box::new).collect()).join().expect("blocks");
            // One loop for both: the rounds that count have the stacks of the first ones, this function's included.
            for round in 0..WARM_ROUNDS + ROUNDS {
                if round == WARM_ROUNDS {
                    system_calls::forbid()?;
                }
                operations(&mut blocks);
            }
            Ok(0)
        }
    };
    assert_eq!(child::run(quiet(true)), Ok(0));
    assert_eq!(child::run(quiet(false)), Ok(0));
    let loud = || {
        system_calls::forbid()?;
        // SAFETY: no conditions.
        Ok(u8::from(unsafe { libc::getppid() } == 0))
    };
    assert_eq!(child::run(loud), Ok(system_calls::MADE_ONE));
}
