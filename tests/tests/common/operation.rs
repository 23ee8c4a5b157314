//! The operations of the allocator that are interrupted at every instruction, each on a new thread, which is all there is
//! to prepare: what comes before the operation decides which way it takes through the hook.
//!
//! Performed on the thread that is stepped through. Blocks are leaked, but for those that are freed on purpose.

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::ffi::c_void;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use std::{ptr, thread};

use heaptally::{Counts, TickNumber};

use crate::placing::{self, Place};

/// What is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The thread's first allocation: it is registered.
    First,
    /// An allocation by functions whose rules nobody has needed yet, as long as there are such.
    NewCode,
    /// An allocation on a stack that nobody has met, as long as there are such.
    NewStack,
    /// An allocation on the stack of the last one.
    SameStack,
    Free,
    /// A free of a block that is older than a tick, of a stack that the thread has lines for.
    FreeOld,
    /// An allocation on the stack of the last one, after which the thread tells of its live bytes.
    Tell,
    /// A free after which it tells.
    FreeTelling,
    /// The same, of a block that is older than a tick.
    FreeOldTelling,
    /// A small block grows into a large one.
    Realloc,
    Large,
    /// The first large block of 256 MiB of addresses: the system is asked for memory for their tags.
    FirstLarge,
    FreeLarge,
    /// A large block shrinks into a small one.
    Shrink,
    /// An allocation and a free of a large block that can have no tag.
    Untagged,
    /// No operation of the allocator: libc is asked for the thread's stack, as std does when a thread starts, under a lock
    /// that a handler must not wait for.
    AskLibc,
    /// No operation: the thread ends, and gives its state back.
    EndThread,
}

pub(crate) const OPERATIONS: [Operation; 17] = [
    Operation::First,
    Operation::NewCode,
    Operation::NewStack,
    Operation::SameStack,
    Operation::Free,
    Operation::FreeOld,
    Operation::Tell,
    Operation::FreeTelling,
    Operation::FreeOldTelling,
    Operation::Realloc,
    Operation::Large,
    Operation::FirstLarge,
    Operation::FreeLarge,
    Operation::Shrink,
    Operation::Untagged,
    Operation::AskLibc,
    Operation::EndThread,
];

const PREPARED_BYTES: usize = 24;
const BYTES: usize = 60;
const LARGE_BYTES: usize = 333;
/// A thread that allocates so much tells of all that it has not told.
const ALL_TOLD_BYTES: usize = 200_000;
/// All but 6 of the bytes that it may keep to itself then.
const NEARLY_TOLD_BYTES: usize = (64 << 10) - 6;
/// Blocks that a thread meets before it has a line for their stack, and more.
const MET_BLOCKS: usize = 12;
/// More than a test frees, even if it visits all instructions.
const OLD_BLOCKS: usize = 4096;

impl Operation {
    /// Performs it on the calling thread, which is new. Calls `begin` when nothing but the operation is left to do.
    pub(crate) fn perform(self, begin: fn()) {
        if self == Self::First {
            begin();
            black_box(allocate(BYTES));
            return;
        }
        if self == Self::AskLibc {
            begin();
            return ask_libc();
        }
        let block = match self {
            Self::FreeOld | Self::FreeOldTelling => old::take(),
            _ => allocate(self.prepared_bytes()),
        };
        match self {
            Self::FreeOld | Self::FreeOldTelling => (0..MET_BLOCKS).for_each(|_| _ = black_box(allocate(BYTES))),
            _ => {}
        }
        if matches!(self, Self::FreeTelling | Self::FreeOldTelling) {
            black_box(allocate(ALL_TOLD_BYTES));
            black_box(allocate(NEARLY_TOLD_BYTES));
        }
        match self {
            Self::FirstLarge => {
                placing::begin_region();
                placing::set(Place::Region);
            }
            Self::Untagged => placing::set(Place::Beyond),
            _ => {}
        }
        match self {
            Self::SameStack => allocate_in_a_loop(&[BYTES, BYTES], begin),
            Self::Tell => allocate_in_a_loop(&[ALL_TOLD_BYTES, NEARLY_TOLD_BYTES, BYTES], begin),
            _ => {
                begin();
                self.perform_with(block);
            }
        }
    }

    fn perform_with(self, block: *mut u8) {
        /// The next stack, and the next place, that are new.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = || NEXT.fetch_add(1, Ordering::Relaxed);
        match self {
            Self::First | Self::SameStack | Self::Tell | Self::AskLibc | Self::EndThread => {}
            Self::NewCode => {
                black_box(PLACES[next() as usize % PLACES.len()]());
            }
            Self::NewStack => {
                black_box(branch((1 << 9) | (next() % (1 << 9)), BYTES));
            }
            // SAFETY: the block has this layout, and is freed once.
            Self::Free | Self::FreeOld | Self::FreeTelling | Self::FreeOldTelling | Self::FreeLarge => unsafe {
                dealloc(black_box(block), layout(self.prepared_bytes()))
            },
            Self::Realloc | Self::Shrink => {
                let new_bytes = if self == Self::Shrink { BYTES } else { LARGE_BYTES };
                // SAFETY: as above; the new size is not zero.
                black_box(unsafe { realloc(black_box(block), layout(self.prepared_bytes()), new_bytes) });
            }
            Self::Large | Self::FirstLarge => {
                black_box(allocate(LARGE_BYTES));
            }
            // SAFETY: as above.
            Self::Untagged => unsafe { dealloc(allocate(LARGE_BYTES), layout(LARGE_BYTES)) },
        }
    }

    /// Of the block that goes before it.
    fn prepared_bytes(self) -> usize {
        if matches!(self, Self::FreeLarge | Self::Shrink) { LARGE_BYTES } else { PREPARED_BYTES }
    }

    /// What `times` of it, with what went before each, allocate and free.
    #[allow(dead_code, reason = "not every test looks at rows")]
    pub(crate) fn counts(self, times: u64) -> Counts {
        let (blocks, bytes, freed_blocks, freed_bytes) = match self {
            Self::First => (1, BYTES, 0, 0),
            Self::NewCode | Self::NewStack => (2, PREPARED_BYTES + BYTES, 0, 0),
            Self::SameStack => (3, PREPARED_BYTES + 2 * BYTES, 0, 0),
            Self::Free => (1, PREPARED_BYTES, 1, PREPARED_BYTES),
            Self::FreeOld => (MET_BLOCKS, MET_BLOCKS * BYTES, 1, PREPARED_BYTES),
            Self::Tell => (4, PREPARED_BYTES + ALL_TOLD_BYTES + NEARLY_TOLD_BYTES + BYTES, 0, 0),
            Self::FreeTelling => (3, PREPARED_BYTES + ALL_TOLD_BYTES + NEARLY_TOLD_BYTES, 1, PREPARED_BYTES),
            Self::FreeOldTelling => {
                (MET_BLOCKS + 2, MET_BLOCKS * BYTES + ALL_TOLD_BYTES + NEARLY_TOLD_BYTES, 1, PREPARED_BYTES)
            }
            Self::Realloc => (2, PREPARED_BYTES + LARGE_BYTES, 1, PREPARED_BYTES),
            Self::Large | Self::FirstLarge => (2, PREPARED_BYTES + LARGE_BYTES, 0, 0),
            Self::FreeLarge => (1, LARGE_BYTES, 1, LARGE_BYTES),
            Self::Shrink => (2, LARGE_BYTES + BYTES, 1, LARGE_BYTES),
            Self::Untagged => (2, PREPARED_BYTES + LARGE_BYTES, 1, LARGE_BYTES),
            Self::AskLibc => (0, 0, 0, 0),
            Self::EndThread => (1, PREPARED_BYTES, 0, 0),
        };
        Counts {
            allocated_blocks: blocks as u64 * times,
            allocated_bytes: bytes as u64 * times,
            freed_blocks: freed_blocks * times,
            freed_bytes: freed_bytes as u64 * times,
        }
    }
}

#[inline(never)]
fn ask_libc() {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the attributes are filled by the first call, and destroyed once.
    unsafe {
        assert_eq!(libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()), 0);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
}

/// The blocks of [`Operation::FreeOld`] and [`Operation::FreeOldTelling`].
pub(crate) mod old {
    use super::*;

    static BLOCKS: [AtomicPtr<u8>; OLD_BLOCKS] = [const { AtomicPtr::new(ptr::null_mut()) }; OLD_BLOCKS];

    /// Allocates them. To be called once, before any operation; if tracking is on, they are older than a tick afterwards.
    #[allow(dead_code, reason = "step_start has no such operation")]
    pub(crate) fn prepare() {
        for block in &BLOCKS {
            block.store(allocate(PREPARED_BYTES), Ordering::Relaxed);
        }
        let born = heaptally::snapshot().tick();
        while born > TickNumber::ZERO && heaptally::snapshot().tick() == born {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// One that nobody has taken.
    pub(super) fn take() -> *mut u8 {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        BLOCKS[TAKEN.fetch_add(1, Ordering::Relaxed)].load(Ordering::Relaxed)
    }
}

/// On one stack; calls `begin` before the last.
fn allocate_in_a_loop(sizes: &[usize], begin: fn()) {
    for (number, &bytes) in (1..).zip(sizes) {
        if number == sizes.len() {
            begin();
        }
        black_box(allocate(bytes));
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).expect("a small multiple")
}

#[inline(never)]
fn allocate(bytes: usize) -> *mut u8 {
    // SAFETY: the size is not zero.
    black_box(unsafe { alloc(black_box(layout(bytes))) })
}

/// One frame deeper for each binary digit, by the one call or by the other: numbers are stacks.
#[inline(never)]
fn branch(path: u64, bytes: usize) -> *mut u8 {
    match path {
        0 | 1 => allocate(bytes),
        odd if odd & 1 == 1 => black_box(branch(path / 2, bytes)),
        _ => {
            let block = branch(path / 2, bytes);
            black_box(());
            black_box(block)
        }
    }
}

/// A function of its own for each `N`.
#[inline(never)]
fn place<const N: usize>() -> *mut u8 {
    black_box(N);
    black_box(allocate(BYTES))
}

macro_rules! places {
    ($($tens:literal)*) => {
        &[$(place::<{ $tens * 8 }>, place::<{ $tens * 8 + 1 }>, place::<{ $tens * 8 + 2 }>, place::<{ $tens * 8 + 3 }>,
            place::<{ $tens * 8 + 4 }>, place::<{ $tens * 8 + 5 }>, place::<{ $tens * 8 + 6 }>, place::<{ $tens * 8 + 7 }>),*]
    };
}
static PLACES: &[fn() -> *mut u8] = places!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);

/// Calls `body` on a new thread of libc's, of which std knows nothing, with the number of the operation in
/// [`OPERATIONS`], and waits for its end.
pub(crate) fn on_new_thread(body: extern "C" fn(*mut c_void) -> *mut c_void, operation: Operation) {
    join(spawn(body, operation));
}

/// As [`on_new_thread`], without waiting.
pub(crate) fn spawn(body: extern "C" fn(*mut c_void) -> *mut c_void, operation: Operation) -> libc::pthread_t {
    let number = OPERATIONS.iter().position(|&other| other == operation).expect("one of them");
    let mut thread = 0;
    // SAFETY: the body has the required type; the thread is joined.
    let made = unsafe { libc::pthread_create(&raw mut thread, ptr::null(), body, ptr::without_provenance_mut(number)) };
    assert_eq!(made, 0);
    thread
}

/// Waits for the end of a thread that [`spawn`] has made.
pub(crate) fn join(thread: libc::pthread_t) {
    // SAFETY: a thread that was not joined yet.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
}
