//! Stacks that are not the thread's own, tiny or deep: each capture is the platform unwinder's, and each block its
//! function's.

#[path = "common/captures.rs"]
mod captures;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::ffi::c_void;
use std::hint::black_box;
use std::panic::{catch_unwind, resume_unwind};
use std::thread;

use captures::{Way, assert_charged, on_two_threads, snapshot};
use corosensei::stack::{DefaultStack, Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder, on_stack};
use heaptally::TallyAlloc;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    captures::main(&[
        ("coroutines", coroutines),
        ("stacks in any order", stacks_in_any_order),
        ("stacks in segments", stacks_in_segments),
        ("the smallest stacks", the_smallest_stacks),
        ("deep recursion", deep_recursion),
    ]);
}

/// A block of `bytes` bytes, charged to the function it is written in.
macro_rules! block {
    ($bytes:expr) => {
        drop(black_box(Vec::<u8>::with_capacity(black_box($bytes))))
    };
}

/// The function of a thread made by libc.
type Body = extern "C" fn(*mut c_void) -> *mut c_void;

const COROUTINES: usize = 8;
const TURNS: usize = 25;

fn coroutines(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        take_turns(COROUTINES);
        nest(5);
        for _ in 0..20 {
            given_up_half_way();
            panics_inside();
            on_the_stack_of_the_caller();
        }
    });
    assert_charged(
        &snapshot(way),
        &[
            // Eight, 25 turns of a block each and another five calls further in; on two threads.
            ("captures_stacks::turns", 2 * 200, 24),
            ("captures_stacks::further_in", 2 * 200, 25),
            ("captures_stacks::take_turns", 2 * 200, 26),
            // A block before and one behind the resumption, on six levels.
            ("captures_stacks::nest", 2 * 12, 40),
            ("captures_stacks::given_up_half_way", 2 * 20, 50),
            ("<captures_stacks::Allocating as core::ops::drop::Drop>::drop", 2 * 40, 51),
            ("captures_stacks::panics_inside", 2 * 20, 52),
            ("captures_stacks::back_and_forth", 2 * 20 * (1 + 2 + 3), 53),
        ],
    );
}

/// Coroutines that allocate in turns, and between them the thread.
fn take_turns(coroutines: usize) {
    let mut running: [Coroutine<(), (), ()>; COROUTINES] =
        std::array::from_fn(|number| Coroutine::new(move |yielder, ()| turns(yielder, coroutines + number)));
    for turn in 0..TURNS {
        for coroutine in &mut running {
            assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(())), "turn {turn}");
            block!(26);
        }
    }
    for coroutine in &mut running {
        assert!(matches!(coroutine.resume(()), CoroutineResult::Return(())));
    }
}

#[inline(never)]
fn turns(yielder: &Yielder<(), ()>, number: usize) {
    for _ in 0..TURNS {
        block!(24);
        further_in(5, number);
        yielder.suspend(());
    }
}

#[inline(never)]
fn further_in(calls: usize, number: usize) {
    let room = black_box([0_u8; 100]);
    match calls {
        0 => block!(25),
        _ => further_in(calls - 1, number),
    }
    black_box((&room, number));
}

/// A coroutine that resumes a coroutine, and so on.
#[inline(never)]
fn nest(levels: usize) {
    block!(40);
    if let Some(levels) = levels.checked_sub(1) {
        let mut inner: Coroutine<(), (), ()> = Coroutine::new(move |_, ()| nest(levels));
        inner.resume(());
    }
    block!(40);
}

struct Allocating;

impl Drop for Allocating {
    fn drop(&mut self) {
        block!(51);
    }
}

/// A coroutine that is dropped while suspended: its stack is unwound. The next one finds the stack at the same place.
#[inline(never)]
fn given_up_half_way() {
    let stack = DefaultStack::default();
    let mut coroutine = Coroutine::with_stack(stack, |yielder: &Yielder<(), ()>, ()| {
        let _allocating = Allocating;
        yielder.suspend(());
    });
    coroutine.resume(());
    block!(50);
    drop(coroutine);
}

/// A panic that passes from the coroutine to whoever has resumed it.
#[inline(never)]
fn panics_inside() {
    let caught = catch_unwind(|| {
        let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(|_: &Yielder<(), ()>, ()| {
            let _allocating = Allocating;
            resume_unwind(Box::new(()));
        });
        coroutine.resume(());
    });
    assert!(caught.is_err());
    block!(52);
}

/// Coroutines that call functions on the stack from which they were resumed, and those the same.
fn on_the_stack_of_the_caller() {
    (0..3).for_each(back_and_forth);
}

#[inline(never)]
fn back_and_forth(levels: usize) {
    block!(53);
    if let Some(levels) = levels.checked_sub(1) {
        let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
            yielder.on_parent_stack(|| back_and_forth(levels));
        });
        coroutine.resume(());
    }
}

const PIECES: usize = 6;
const PIECE_BYTES: usize = 64 << 10;

/// One of several stacks side by side. The others are its guard: nothing here needs a quarter of it.
#[derive(Clone, Copy)]
struct Piece {
    base: StackPointer,
}

// SAFETY: large enough for what the tests do.
unsafe impl Stack for Piece {
    fn base(&self) -> StackPointer {
        self.base
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.base.get() - PIECE_BYTES).expect("not at zero")
    }
}

/// A caller's stack lies below that of the called function as often as above it.
fn stacks_in_any_order(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        let mut memory = vec![0_u128; PIECES * PIECE_BYTES / size_of::<u128>()];
        let memory = memory.as_mut_ptr().expose_provenance();
        let piece = |number: usize| Piece {
            base: StackPointer::new(memory + (number + 1) * PIECE_BYTES).expect("not at zero"),
        };
        for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3], [3, 5, 0, 4, 2, 1]] {
            on_pieces(&order.map(piece));
        }
    });
    // Two blocks on each of seven levels, in four orders, on two threads.
    assert_charged(&snapshot(way), &[("captures_stacks::on_pieces", 2 * 4 * 2 * 7, 72)]);
}

/// Every call on the next of the stacks.
#[inline(never)]
fn on_pieces(pieces: &[Piece]) {
    block!(72);
    if let Some((&piece, others)) = pieces.split_first() {
        on_stack(piece, || on_pieces(others));
    }
    block!(72);
}

fn stacks_in_segments(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        for levels in [1, 7, 3, 7, 60] {
            segment(levels);
        }
        // A megabyte at once, or eight kibibytes again and again.
        let sum = recurse_by_need(2_000);
        assert_eq!(sum, 2_000 * 2_001 / 2);
    });
    assert_charged(
        &snapshot(way),
        &[
            // 2 + 8 + 4 + 8 + 61 frames, two blocks each, on two threads.
            ("captures_stacks::segment", 2 * 83 * 2, 32),
            ("captures_stacks::recurse_by_need", 2 * 2_001, 16),
        ],
    );
}

/// Every call on a stack of its own.
#[inline(never)]
fn segment(levels: usize) {
    block!(32);
    if let Some(levels) = levels.checked_sub(1) {
        stacker::grow(64 << 10, || segment(levels));
    }
    block!(32);
}

#[inline(never)]
fn recurse_by_need(calls: u64) -> u64 {
    block!(16);
    stacker::maybe_grow(32 << 10, 128 << 10, || match calls {
        0 => 0,
        _ => calls + recurse_by_need(calls - 1),
    })
}

const TINY_BYTES: usize = 16 << 10;

fn the_smallest_stacks(way: Way) {
    extern "C" fn body(_: *mut c_void) -> *mut c_void {
        for _ in 0..3 {
            tiny(2);
        }
        std::ptr::null_mut()
    }
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        for _ in 0..20 {
            on_thread_of(TINY_BYTES, body);
        }
    });
    // Three blocks, three times, on twenty threads, started by two.
    assert_charged(&snapshot(way), &[("captures_stacks::tiny", 9 * 20 * 2, 20)]);
}

#[inline(never)]
fn tiny(calls: usize) {
    if let Some(calls) = calls.checked_sub(1) {
        tiny(calls);
    }
    block!(20);
}

/// std makes no stack that small.
fn on_thread_of(stack_bytes: usize, body: Body) {
    // SAFETY: attributes are initialized before they are used, and destroyed once; the thread is joined.
    unsafe {
        let mut attributes = std::mem::MaybeUninit::uninit();
        assert_eq!(libc::pthread_attr_init(attributes.as_mut_ptr()), 0);
        assert_eq!(libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), stack_bytes), 0);
        let mut thread = 0;
        assert_eq!(libc::pthread_create(&mut thread, attributes.as_ptr(), body, std::ptr::null_mut()), 0);
        assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
}

fn deep_recursion(way: Way) {
    heaptally::start(way.config()).unwrap();
    // The main thread has 8 MiB.
    on_two_threads(|| {
        thread::Builder::new().stack_size(64 << 20).spawn(|| deep(10_000)).unwrap().join().unwrap();
        deep(10_000);
    });
    let snapshot = snapshot(way);
    // Every tenth of 10,001 calls, and again on the way back; on four threads.
    assert_charged(&snapshot, &[("captures_stacks::deep", 4 * 2 * 1_001, 24)]);
    assert!(snapshot.captures().truncated > 0 && snapshot.losses().truncated_stacks > 0);
}

#[inline(never)]
fn deep(calls: usize) {
    if calls.is_multiple_of(10) {
        block!(24);
    }
    if let Some(calls) = calls.checked_sub(1) {
        deep(calls);
    }
    if calls.is_multiple_of(10) {
        block!(24);
    }
}
