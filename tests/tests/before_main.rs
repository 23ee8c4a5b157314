//! Constructors that allocate and start threads before `main`, and destructors that free and start threads after it: of a
//! C program's own, which come before and after all others, and of Rust's. Every block is counted, and known when it is
//! freed.
#![cfg(not(heaptally_portable))]

use std::hint::black_box;
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::{env, mem};

use heaptally::{Counts, SiteKind};
use heaptally_tests::{Block, Watched, assert_exact, counts, watched};

#[global_allocator]
static ALLOC: Watched = watched();

/// Blocks of each of two constructors, and of the thread that it starts and waits for.
const BLOCKS: usize = 3;
const OWN_BYTES: usize = 1000;
const THREAD_BYTES: usize = 50;
/// Says that the destructors have found all that they looked for.
const WELL: &str = "destructors: well\n";
/// Set for the process whose destructors are watched.
const VARIABLE: &str = "HEAPTALLY_DESTRUCTORS";

/// What a constructor leaves to `main`.
struct Left {
    own: Vec<Block>,
    of_thread: Vec<Block>,
    counted: [Counts; 2],
    /// A thread that lives on, and ends when it is told to.
    living: (SyncSender<()>, JoinHandle<Vec<Block>>),
}

static LEFT: [Mutex<Option<Left>>; 2] = [const { Mutex::new(None) }; 2];

fn blocks(bytes: usize) -> Vec<Block> {
    let mut blocks = Vec::with_capacity(BLOCKS);
    (0..BLOCKS).for_each(|_| blocks.push(Block::new(bytes, 8)));
    blocks
}

/// The blocks, and the vector that holds them.
fn counts_of(bytes: usize) -> Counts {
    counts([BLOCKS as u64 + 1, (BLOCKS * (bytes + size_of::<Block>())) as u64], [0, 0])
}

fn construct(number: usize) {
    let (own, counted_here) = heaptally::measure(|| blocks(OWN_BYTES));
    let measured = thread::spawn(|| heaptally::measure(|| blocks(THREAD_BYTES)));
    let (of_thread, counted_there) = measured.join().expect("no panic");
    let (sender, receiver) = sync_channel(1);
    let living = thread::spawn(move || {
        let kept = blocks(THREAD_BYTES);
        receiver.recv().expect("a sender");
        kept
    });
    let left = Left { own, of_thread, counted: [counted_here, counted_there], living: (sender, living) };
    *LEFT[number].lock().expect("nobody else") = Some(left);
}

/// Called by `c/constructor.c`, before all other constructors.
#[unsafe(no_mangle)]
extern "C" fn before_all() {
    construct(0);
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn rust() {
        construct(1);
    }
    rust
};

unsafe extern "C" {
    /// Of `c/constructor.c`: does nothing but be there.
    fn have_constructors();
}

#[test]
fn blocks_of_constructors_are_counted_and_known() {
    // SAFETY: does nothing.
    unsafe { have_constructors() };
    assert_exact("before the start");
    heaptally::start(heaptally::config!()).expect("installed");
    assert_exact("started");
    for left in &LEFT {
        let mut left = left.lock().expect("nobody else");
        let left = left.as_mut().expect("constructors have run");
        assert_eq!(left.counted, [counts_of(OWN_BYTES), counts_of(THREAD_BYTES)]);
        // The rest is for the destructors.
        let some = [left.own.pop(), left.of_thread.pop()];
        let ((), counted) = heaptally::measure(|| drop(some));
        assert_eq!(counted, counts([0, 0], [2, (OWN_BYTES + THREAD_BYTES) as u64]));
    }
    assert_exact("freed");
}

#[test]
fn destructors_free_what_constructors_have_allocated() {
    if env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut child = Command::new(env::current_exe().expect("a file"));
    child.env(VARIABLE, "1").args(["--exact", "blocks_of_constructors_are_counted_and_known", "--nocapture"]);
    let output = child.output().expect("a child");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}{errors}", output.status);
    assert!(said.ends_with(WELL), "{said}{errors}");
}

/// Called by `c/constructor.c`, after all other destructors. A panic ends the process, since it cannot pass through C.
#[unsafe(no_mangle)]
extern "C" fn after_all() {
    if env::var_os(VARIABLE).is_none() {
        return;
    }
    for left in &LEFT {
        let left = left.lock().expect("nobody else").take().expect("constructors have run");
        let (sender, living) = left.living;
        sender.send(()).expect("the thread waits");
        let of_living = living.join().expect("no panic");
        for (blocks, live, bytes) in [
            (left.own, BLOCKS - 1, OWN_BYTES),
            (left.of_thread, BLOCKS - 1, THREAD_BYTES),
            (of_living, BLOCKS, THREAD_BYTES),
        ] {
            let ((), counted) = heaptally::measure(|| drop(blocks));
            let vector_bytes = BLOCKS * size_of::<Block>();
            assert_eq!(counted, counts([0, 0], [live as u64 + 1, (live * bytes + vector_bytes) as u64]));
        }
    }
    // A thread that begins after the end: heaptally has given up its part in the ends of threads.
    let measured = thread::spawn(|| heaptally::measure(|| mem::forget(black_box(blocks(OWN_BYTES)))));
    assert_eq!(measured.join().expect("no panic").1, counts_of(OWN_BYTES));
    let snapshot = heaptally::snapshot();
    assert_eq!(snapshot.check(), Ok(()));
    assert!(snapshot.function(SiteKind::UnknownFrees.label()).is_none());
    // SAFETY: writes bytes that exist.
    unsafe { libc::write(libc::STDOUT_FILENO, WELL.as_ptr().cast(), WELL.len()) };
}
