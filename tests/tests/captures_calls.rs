//! Stacks of every kind of call: each capture is the platform unwinder's, and each block its function's.

#[path = "common/captures.rs"]
mod captures;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use captures::{Way, assert_charged, on_two_threads, snapshot};
use heaptally::TallyAlloc;
use heaptally_tests::{Random, c_frames};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    captures::main(&[
        ("recursion, dispatch and generics", recursion_dispatch_and_generics),
        ("panics that pass through destructors", panics_that_pass_through_destructors),
        ("frames of C, and of odd alignment", frames_of_c_and_of_odd_alignment),
    ]);
}

/// A block of `bytes` bytes, charged to the function it is written in.
macro_rules! block {
    ($bytes:expr) => {
        drop(black_box(Vec::<u8>::with_capacity(black_box($bytes))))
    };
}

fn recursion_dispatch_and_generics(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        recurse(100);
        binary(1, 20);
        dispatch();
        closures();
        generics();
    });
    let snapshot = snapshot(way);
    assert_charged(
        &snapshot,
        &[
            // A block before and one behind the call, of 101 calls, on two threads.
            ("captures_calls::recurse", 404, 24),
            // Of the nodes 1 to 2^21 - 1 those that 509 divides: 4,120.
            ("captures_calls::binary", 2 * 4_120, 40),
            // Directly 60 times and through `Nested` 30 times, on two threads; then as often, and two blocks.
            ("<captures_calls::Small as captures_calls::Allocates>::allocate", 180, 10),
            ("<captures_calls::Large as captures_calls::Allocates>::allocate", 360, 100),
            ("<captures_calls::Nested as captures_calls::Allocates>::allocate", 120, 7),
            // A box of two words.
            ("captures_calls::closures", 100, 16),
            // Three closures, 50 times on two threads.
            ("captures_calls::closures::{{closure}}", 300, 11),
            // Four of them, 25 times on two threads.
            ("captures_calls::generic", 200, 32),
        ],
    );
}

#[inline(never)]
fn recurse(calls: usize) {
    block!(24);
    if calls > 0 {
        recurse(black_box(calls - 1));
    }
    block!(24);
}

/// A node of a tree of `levels` more levels; the children of `n` are `2 n` and `2 n + 1`.
#[inline(never)]
fn binary(node: u64, levels: u32) {
    if node.is_multiple_of(509) {
        block!(40);
    }
    if levels > 0 {
        binary(black_box(2 * node), levels - 1);
        binary(black_box(2 * node + 1), levels - 1);
    }
}

trait Allocates {
    fn allocate(&self);
}

struct Small;
struct Large;
struct Nested(&'static (dyn Allocates + Sync));

impl Allocates for Small {
    fn allocate(&self) {
        block!(10);
    }
}

impl Allocates for Large {
    fn allocate(&self) {
        // A frame of another size below the one call site of `dispatch`.
        let room = black_box([0_u8; 4000]);
        block!(100);
        block!(100);
        black_box(&room);
    }
}

impl Allocates for Nested {
    fn allocate(&self) {
        block!(7);
        self.0.allocate();
    }
}

/// `Small` and `Large` are called directly 60 times each and through `Nested` 30 times each.
fn dispatch() {
    let objects: [&dyn Allocates; 6] = [&Small, &Large, &Small, &Nested(&Small), &Large, &Nested(&Large)];
    for _ in 0..30 {
        for object in objects {
            black_box(object).allocate();
        }
    }
}

fn closures() {
    for number in 0..50_u64 {
        let mut count = 0;
        let mut counting = |bytes: usize| {
            count += 1;
            block!(bytes);
        };
        apply(&mut counting, 11);
        apply(&mut |bytes| block!(bytes), 11);
        // Two words are captured.
        let boxed: Box<dyn FnOnce(usize)> = black_box(Box::new(move |bytes| {
            block!(bytes);
            black_box((number, count));
        }));
        boxed(11);
    }
}

#[inline(never)]
fn apply(f: &mut dyn FnMut(usize), bytes: usize) {
    f(bytes);
    black_box(bytes);
}

fn generics() {
    for _ in 0..25 {
        generic::<1>();
        generic::<20>();
        generic::<300>();
        generic::<1000>();
    }
}

#[inline(never)]
fn generic<const N: usize>() {
    let room = black_box([0_u64; N]);
    block!(32);
    black_box(room);
}

fn panics_that_pass_through_destructors(way: Way) {
    std::panic::set_hook(Box::new(|_| block!(9)));
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        for calls in 0..40 {
            assert!(catch_unwind(|| unwinds(calls, false)).is_err());
            assert!(catch_unwind(|| unwinds(calls, true)).is_err());
        }
    });
    // 1 + 2 + ... + 40 = 820 frames; panics of two kinds, on two threads.
    assert_charged(
        &snapshot(way),
        &[
            ("captures_calls::unwinds", 4 * 820, 12),
            ("<captures_calls::Allocating as core::ops::drop::Drop>::drop", 4 * 820, 18),
            ("captures_calls::inside_a_destructor", 4 * 820, 28),
        ],
    );
}

struct Allocating;

impl Drop for Allocating {
    fn drop(&mut self) {
        block!(18);
        // Another panic, caught while the first one is under way.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            inside_a_destructor();
            resume_unwind(Box::new(()));
        }));
        assert!(caught.is_err());
    }
}

#[inline(never)]
fn inside_a_destructor() {
    block!(28);
}

#[inline(never)]
fn unwinds(calls: usize, with_hook: bool) {
    let allocating = Allocating;
    block!(12);
    match calls {
        0 => unwind(with_hook),
        _ => unwinds(calls - 1, with_hook),
    }
    drop(allocating);
}

/// What the standard library allocates for the panic is charged here.
#[inline(never)]
fn unwind(with_hook: bool) {
    match with_hook {
        true => panic!("{}", black_box(5)),
        false => resume_unwind(Box::new(())),
    }
}

fn frames_of_c_and_of_odd_alignment(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        through_c();
        sorts();
        [49, 48, 50].into_iter().for_each(|calls| aligned(calls, 0));
    });
    let snapshot = snapshot(way);
    // Per function two stack depths and four sizes; two of fourteen functions call three times.
    assert_charged(
        &snapshot,
        &[
            ("captures_calls::in_callback", 2 * 8 * 18, 48),
            ("captures_calls::compare", COMPARED.load(Ordering::Relaxed), 56),
            ("captures_calls::aligned", 2 * 3 * 50, 64),
        ],
    );
}

fn through_c() {
    for bytes in [1, 40, 700, 5000] {
        for function in 0..c_frames::COUNT {
            c_frames::through(function, bytes, &mut in_callback);
            further_in(function, bytes);
        }
    }
}

#[inline(never)]
fn further_in(function: usize, bytes: usize) {
    let room = black_box([0_u8; 100]);
    c_frames::through(function, bytes, &mut in_callback);
    black_box(&room);
}

#[inline(never)]
fn in_callback() {
    block!(48);
}

/// Calls of `compare`, on both threads.
static COMPARED: AtomicU64 = AtomicU64::new(0);

fn sorts() {
    let mut random = Random::new(1);
    let mut numbers: [u32; 500] = std::array::from_fn(|_| random.below(1 << 20) as u32);
    // SAFETY: as many elements of that size, and a function that compares two of them.
    unsafe { libc::qsort((&raw mut numbers).cast(), numbers.len(), size_of::<u32>(), Some(compare)) };
    assert!(numbers.is_sorted());
}

extern "C" fn compare(left: *const c_void, right: *const c_void) -> c_int {
    block!(56);
    COMPARED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: two elements of the array.
    let (left, right) = unsafe { (*left.cast::<u32>(), *right.cast::<u32>()) };
    left.cmp(&right) as c_int
}

/// A local at a multiple of more than the stack's sixteen.
macro_rules! over_aligned {
    ($name:ident, $align:literal) => {
        #[repr(align($align))]
        struct $name([u8; $align]);

        impl $name {
            /// Calls the others, so that every frame has every distance from one below it.
            #[inline(never)]
            fn through(calls: usize, sum: usize) {
                let mut local = Self([0; $align]);
                assert!(black_box(&raw mut local).addr().is_multiple_of($align));
                aligned(calls, sum + usize::from(local.0[0]));
                black_box(&mut local.0);
            }
        }
    };
}

over_aligned!(Aligned32, 32);
over_aligned!(Aligned64, 64);
over_aligned!(Aligned128, 128);

#[inline(never)]
fn aligned(calls: usize, sum: usize) {
    block!(64);
    if let Some(calls) = calls.checked_sub(1) {
        match calls % 3 {
            0 => Aligned32::through(calls, sum),
            1 => Aligned64::through(calls, sum),
            _ => Aligned128::through(calls, sum),
        }
    }
}
