//! How many distinct stacks the blocks of `tree` are allocated on, in the release profile; and that they are the same
//! in every lap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Notes the stack of every block while it is told to.
struct Watch;

#[global_allocator]
static ALLOC: Watch = Watch;

static WATCHING: AtomicBool = AtomicBool::new(false);
/// Hashes of the stacks below the workload, and how many there were.
static SEEN: Mutex<(Option<HashSet<u64>>, u64)> = Mutex::new((None, 0));

thread_local! {
    /// What is allocated to note a stack is not noted.
    static NOTING: Cell<bool> = const { Cell::new(false) };
}

fn note_stack() {
    let mut hasher = DefaultHasher::new();
    backtrace::trace(|frame| {
        (frame.ip() as usize).hash(&mut hasher);
        true
    });
    let mut seen = SEEN.lock().unwrap();
    seen.0.get_or_insert_default().insert(hasher.finish());
    seen.1 += 1;
}

// SAFETY: every call is passed on unchanged to `System`, which keeps the contract. Noting is not entered from itself.
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if WATCHING.load(Ordering::Relaxed) && !NOTING.replace(true) {
            note_stack();
            NOTING.set(false);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block was allocated above, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "the release profile is what is measured: cargo test --release")]
fn every_block_of_the_tree_has_a_stack_of_its_own() {
    WATCHING.store(true, Ordering::Relaxed);
    workloads::lap("tree");
    WATCHING.store(false, Ordering::Relaxed);
    let (stacks, blocks) = {
        let seen = SEEN.lock().unwrap();
        (seen.0.as_ref().unwrap().len() as u64, seen.1)
    };
    // 65,535 parts of a list of 32,768, and 40,000 nodes; the warm-up and the lap are on the same stacks.
    let own = 65_535 + 40_000;
    let others = blocks - 2 * own;
    assert!(others < 100, "{others} blocks of the harness");
    assert!((own..=own + others).contains(&stacks), "{stacks} stacks of {blocks} blocks");
}
