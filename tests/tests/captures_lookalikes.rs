//! Stacks that look like the one before: what the previous one left behind is never taken for what is there.
//!
//! Callers of C differ in the size of their frames alone, and what they call makes up for it: further in, all
//! instruction and stack pointers are equal, and the words that the previous stack was made of are still in memory.
//! Only the frame pointer, or one word that it leads to, says who the caller is.

#[path = "common/captures.rs"]
mod captures;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::ffi::c_void;
use std::hint::black_box;
use std::{mem, ptr};

use captures::{Way, assert_charged, on_two_threads, snapshot};
use heaptally::{Snapshot, TallyAlloc};
use heaptally_tests::c_frames::{self, Caller};
use heaptally_tests::stacks;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    captures::main(&[
        ("frames of equal places and other callers", frames_of_equal_places_and_other_callers),
        ("frames of equal alignment and other callers", frames_of_equal_alignment_and_other_callers),
        ("places in turns below callers that change", places_in_turns_below_callers_that_change),
        ("a caller that only a frame pointer leads to", a_caller_that_only_a_frame_pointer_leads_to),
        ("threads on stacks that were others'", threads_on_stacks_that_were_others),
    ]);
}

const ROUNDS: u64 = 20;
/// More than the largest of the callers' frames, for the function that makes up for their differences.
const MOST_BYTES: usize = 4096;

/// A block of 24 bytes, charged to this function.
#[inline(never)]
fn leaf() {
    drop(black_box(Box::new(black_box([0_u64; 3]))));
}

/// A block with a frame of C in between that saves the frame pointer.
fn further_in() {
    c_frames::through(c_frames::number("unoptimized_plain"), 1, &mut leaf);
}

/// One call site for all of them.
#[inline(never)]
fn through(caller: Caller, function: usize, bytes: usize, f: fn()) {
    caller.through(function, bytes, &mut || f());
    black_box(bytes);
}

/// Largest frames first: a smaller one leaves the previous words where the function called has room.
fn callers(optimized: bool) -> impl Iterator<Item = Caller> {
    c_frames::callers(optimized).rev()
}

fn frames_of_equal_places_and_other_callers(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        for f in [leaf as fn(), further_in] {
            for (function, optimized) in [("optimized_alloca", true), ("unoptimized_alloca", false)] {
                for _ in 0..ROUNDS {
                    for caller in callers(optimized) {
                        through(caller, c_frames::number(function), MOST_BYTES - caller.bytes, f);
                    }
                }
            }
        }
    });
    // Ten callers, two depths, on two threads.
    let snapshot = snapshot(way);
    assert_charged(&snapshot, &[("captures_lookalikes::leaf", 10 * 2 * 2 * ROUNDS, 24)]);
    for caller in callers(true).chain(callers(false)) {
        assert_eq!(blocks_through(&snapshot, caller.name), 2 * 2 * ROUNDS, "{}", caller.name);
    }
}

/// The last has the address of its caller's frame in a word of its own.
const ALIGNED: [&str; 4] = ["aligned_32", "aligned_64", "aligned_128", "aligned_alloca"];

fn frames_of_equal_alignment_and_other_callers(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        for f in [leaf as fn(), further_in] {
            for (prefix, optimized) in [("optimized", true), ("unoptimized", false)] {
                for aligned in ALIGNED {
                    let function = c_frames::number(&format!("{prefix}_{aligned}"));
                    for _ in 0..ROUNDS {
                        callers(optimized).for_each(|caller| through(caller, function, 1, f));
                    }
                }
            }
        }
    });
    // Ten callers, four functions, two depths, on two threads.
    let snapshot = snapshot(way);
    assert_charged(&snapshot, &[("captures_lookalikes::leaf", 10 * 4 * 2 * 2 * ROUNDS, 24)]);
    for caller in callers(true).chain(callers(false)) {
        assert_eq!(blocks_through(&snapshot, caller.name), 4 * 2 * 2 * ROUNDS, "{}", caller.name);
    }
}

/// Blocks of [`leaf`] with this function on their stack.
fn blocks_through(snapshot: &Snapshot, function: &str) -> u64 {
    let sites = snapshot.sites().iter().filter(|site| {
        let mut lines = site.frames().flat_map(|frame| frame.lines.iter());
        site.function() == "captures_lookalikes::leaf" && lines.any(|line| &*line.function == function)
    });
    sites.map(|site| site.counts().allocated_blocks).sum()
}

#[inline(never)]
fn here() {
    leaf();
    black_box(());
}

/// With another stack pointer in what it calls, or it would be taken for the same place.
#[inline(never)]
fn there() {
    let room = black_box([0_u8; 64]);
    leaf();
    black_box(&room);
}

/// Ten callers with frames of one size on each of two levels: for the two places where blocks are made, everything
/// nearby is as it was when they were met last, and only a word further out says who is calling.
fn places_in_turns_below_callers_that_change(way: Way) {
    heaptally::start(way.config()).unwrap();
    captures::some_alike();
    for _ in 0..ROUNDS {
        for number in 0..100 {
            stacks::at(number, 2, &mut || {
                for _ in 0..3 {
                    here();
                    there();
                }
            });
        }
    }
    let snapshot = snapshot(way);
    if way == Way::Unverified {
        // Of three rounds below each caller the later two, at both places.
        let expected = 2 * 2 * 100 * ROUNDS;
        assert!(snapshot.captures().reused >= expected, "{:?}", snapshot.captures());
    }
    for place in ["here", "there"].map(|name| format!("captures_lookalikes::{name}")) {
        let sites = snapshot.sites().iter().filter(|site| {
            let mut lines = site.frames().flat_map(|frame| frame.lines.iter());
            lines.any(|line| *line.function == place)
        });
        let blocks: Vec<u64> = sites.map(|site| site.counts().allocated_blocks).collect();
        assert_eq!(blocks, [3 * ROUNDS; 100], "{place}");
    }
}

/// Keeps the frame of the calling function on the stack, and makes no call, which would write over what the last one left
/// there. The text tells functions apart.
macro_rules! keep_frame {
    ($text:literal) => {
        // SAFETY: no instruction at all.
        unsafe { std::arch::asm!(concat!("/* ", $text, " */"), options(nomem, nostack, preserves_flags)) }
    };
}

/// Calls `f` from a frame of so many bytes.
#[inline(never)]
fn by_one(bytes: usize, mut f: &mut dyn FnMut()) {
    c_frames::through(ALLOCA, bytes, &mut f);
    keep_frame!("one");
}

#[inline(never)]
fn by_other(bytes: usize, mut f: &mut dyn FnMut()) {
    c_frames::through(ALLOCA, bytes, &mut f);
    keep_frame!("other");
}

/// Of [`c_frames`]: its frame is of any size, and found by the frame pointer.
const ALLOCA: usize = 8;
/// Saves the frame pointer.
const PLAIN: usize = 7;
/// More than a segment has words.
const MANY_CALLS: usize = 24;

#[inline(never)]
fn deeper(calls: usize, f: &mut dyn FnMut()) {
    if calls == 0 {
        f()
    } else {
        deeper(calls - 1, f)
    }
    keep_frame!("deeper");
}

/// Two frames that have a choice, and make up for each other. What is called in between, by the inner one's frame pointer
/// alone, is the caller of the inner one; what is called in the end has a frame that saves the frame pointer around it.
#[inline(never)]
fn turn(outer: usize, inner: usize, by: fn(usize, &mut dyn FnMut()), places: &[fn()]) {
    let mut innermost = || c_frames::through(PLAIN, 1, &mut || places.iter().for_each(|place| place()));
    c_frames::through(ALLOCA, outer, &mut || deeper(MANY_CALLS, &mut || by(inner, &mut innermost)));
    keep_frame!("turn");
}

/// First both places below the one caller. Then one of them where the callers lie further in, so that what they leave on
/// the stack stays there. At last the other place, where all was as at first, but for the caller. The frame pointer is
/// that of the first time, the words further out are those of the second. Where words are compared by blocks, it counts how
/// many there are.
fn a_caller_that_only_a_frame_pointer_leads_to(way: Way) {
    const DEEPER: usize = 100;
    type Turn = (usize, usize, fn(usize, &mut dyn FnMut()), &'static [fn()]);
    const TURNS: [Turn; 3] =
        [(4096, 32_768, by_one, &[here, there]), (20_480, 16_384, by_one, &[here]), (4096, 32_768, by_other, &[there])];
    assert_eq!([ALLOCA, PLAIN].map(c_frames::name), ["unoptimized_alloca", "unoptimized_plain"]);
    heaptally::start(way.config()).unwrap();
    captures::some_alike();
    for calls in 0..DEEPER {
        for (outer, inner, by, places) in TURNS {
            deeper(calls, &mut || turn(outer, inner, by, places));
        }
    }
    let snapshot = snapshot(way);
    for (by, blocks) in [("by_one", 3), ("by_other", 1)] {
        let found = blocks_through(&snapshot, &format!("captures_lookalikes::{by}"));
        assert_eq!(found, blocks * DEEPER as u64, "{by}");
    }
}

/// A stack that the test maps itself, and unmaps.
struct Mapped {
    address: *mut c_void,
    bytes: usize,
}

impl Mapped {
    fn new(bytes: usize) -> Self {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a mapping of its own.
        let address = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
        assert_ne!(address, libc::MAP_FAILED);
        Self { address, bytes }
    }

    /// Runs `body` on a thread that has this stack.
    fn run(&self, body: extern "C" fn(*mut c_void) -> *mut c_void) {
        // SAFETY: attributes are initialized before they are used, and destroyed once; the thread is joined before its
        // stack is unmapped.
        unsafe {
            let mut attributes = mem::MaybeUninit::uninit();
            assert_eq!(libc::pthread_attr_init(attributes.as_mut_ptr()), 0);
            assert_eq!(libc::pthread_attr_setstack(attributes.as_mut_ptr(), self.address, self.bytes), 0);
            let mut thread = 0;
            assert_eq!(libc::pthread_create(&mut thread, attributes.as_ptr(), body, ptr::null_mut()), 0);
            assert_eq!(libc::pthread_join(thread, ptr::null_mut()), 0);
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no longer used.
        assert_eq!(unsafe { libc::munmap(self.address, self.bytes) }, 0);
    }
}

/// What a thread has captured is its successor's no more: the stack may be unmapped, or at the same place.
fn threads_on_stacks_that_were_others(way: Way) {
    extern "C" fn body(_: *mut c_void) -> *mut c_void {
        (0..10).for_each(|_| leaf());
        ptr::null_mut()
    }
    extern "C" fn body_with_more_on_its_stack(_: *mut c_void) -> *mut c_void {
        let room = black_box([0_u8; 20_000]);
        (0..10).for_each(|_| leaf());
        black_box(&room);
        ptr::null_mut()
    }
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        for _ in 0..25 {
            let stack = Mapped::new(64 << 10);
            stack.run(body);
            stack.run(body_with_more_on_its_stack);
            // Elsewhere, because the other is still mapped; smaller, so that what lay at the other's end is nowhere.
            let elsewhere = Mapped::new(16 << 10);
            drop(stack);
            elsewhere.run(body);
        }
    });
    // Three threads with ten blocks, 25 times, started by two.
    assert_charged(&snapshot(way), &[("captures_lookalikes::leaf", 10 * 3 * 25 * 2, 24)]);
}
