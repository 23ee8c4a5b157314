//! Threads that allocate and free while they are torn down: in `thread_local!` destructors, and in those of pthread
//! keys, which run later.
#![cfg(not(heaptally_portable))]

use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;
use std::thread;

use heaptally::Snapshot;
use heaptally_tests::{Block, Watched, assert_conserved, assert_exact, watched};

#[global_allocator]
static ALLOC: Watched = watched();

const THREADS: u64 = 40;
/// glibc calls the destructors of keys that are set again so often.
const ROUNDS: usize = 4;
const KEY_BLOCK_BYTES: u64 = 48;

thread_local! {
    static EARLY: RefCell<Kept> = const { RefCell::new(Kept(Vec::new())) };
    static LATE: RefCell<Kept> = const { RefCell::new(Kept(Vec::new())) };
}

/// Blocks that are freed by the destructor of a thread-local, which allocates some of its own.
struct Kept(Vec<Block>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.pop();
        self.0.push(Block::new(500, 64));
        // The first destructor to run makes the thread need another one.
        _ = LATE.try_with(|late| late.try_borrow_mut().map(|mut late| late.0.push(Block::zeroed(70, 1))));
    }
}

#[test]
fn blocks_of_destructors_are_counted_to_the_last() {
    run_threads();
    assert_exact("before the start");

    heaptally::start(heaptally::config!()).expect("installed");
    assert_eq!(teardown(&assert_conserved("started")), [0; 4]);
    run_threads();
    assert_exact("tracking");
    // heaptally gives a thread's state back in the last round but one, before a key that was made later has its turn:
    // its destructor finds no state in two rounds of four.
    let (blocks, bytes) = (2 * THREADS, 2 * THREADS * KEY_BLOCK_BYTES);
    assert_eq!(teardown(&assert_conserved("tracking")), [blocks, bytes, blocks, bytes]);
}

fn run_threads() {
    for index in 0..THREADS as usize {
        let ended = thread::spawn(move || {
            EARLY.with_borrow_mut(|early| early.0.extend([Block::new(10 + index, 8), Block::new(20 + index, 256)]));
            set_key(ptr::without_provenance_mut(ROUNDS));
        });
        ended.join().expect("no panic");
    }
}

/// Asks for `at_thread_exit` to be called with `rounds_left`, not zero, when the calling thread ends.
fn set_key(rounds_left: *mut c_void) {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    let key = *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: writes the key; the destructor has the required signature.
        assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(at_thread_exit)) }, 0);
        key
    });
    // SAFETY: a live key.
    assert_eq!(unsafe { libc::pthread_setspecific(key, rounds_left) }, 0);
}

extern "C" fn at_thread_exit(rounds_left: *mut c_void) {
    drop(Block::new(KEY_BLOCK_BYTES as usize, 8));
    if rounds_left.addr() > 1 {
        set_key(rounds_left.map_addr(|rounds| rounds - 1));
    }
}

/// Blocks and bytes, allocated and freed, of threads that had given their state back.
fn teardown(snapshot: &Snapshot) -> [u64; 4] {
    let row = snapshot.function(heaptally::SiteKind::Teardown.label());
    row.map_or([0; 4], |row| {
        let counts = row.counts();
        [counts.allocated_blocks, counts.allocated_bytes, counts.freed_blocks, counts.freed_bytes]
    })
}
