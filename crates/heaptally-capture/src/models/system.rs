//! What takes the place of the system in a model: ids of its threads, sleeping on a word, and mappings that are gone with the
//! run that made them.

extern crate std;

use core::cell::{Cell, RefCell};
use core::ptr::NonNull;
use core::time::Duration;

use std::format;
use std::rc::Rc;
use std::thread_local;
use std::vec::Vec;

use loom::sync::{Condvar, Mutex};

use super::execution;
use crate::sync::{AtomicU32, Ordering};

/// Threads that sleep on a word, whichever.
type Sleepers = (Mutex<()>, Condvar);

thread_local! {
    static MAPPED: RefCell<Vec<(NonNull<u8>, usize)>> = RefCell::default();
    static SLEEPERS: RefCell<Option<Rc<Sleepers>>> = RefCell::default();
    static REFUSES: Cell<bool> = const { Cell::new(false) };
}

/// Begins a run.
pub(super) fn begin() {
    REFUSES.set(false);
    SLEEPERS.set(Some(Rc::new((Mutex::new(()), Condvar::new()))));
    for (address, len_bytes) in MAPPED.take() {
        // SAFETY: a mapping of the last run, whose threads are gone.
        unsafe { libc::munmap(address.as_ptr().cast(), len_bytes) };
    }
}

/// Whether the system refuses memory.
pub(crate) fn refuses() -> bool {
    REFUSES.get()
}

/// Makes the system refuse memory, or give it again.
pub(super) fn refuse(refuses: bool) {
    REFUSES.set(refuses);
}

pub(crate) fn note_mapped(address: NonNull<u8>, len_bytes: usize) {
    MAPPED.with_borrow_mut(|mapped| mapped.push((address, len_bytes)));
}

pub(crate) fn note_unmapped(address: NonNull<u8>) {
    MAPPED.with_borrow_mut(|mapped| mapped.retain(|&(own, _)| own != address));
}

/// Notes that the arena has handed out memory to the calling thread.
pub(crate) fn note_handed_out(address: NonNull<u8>, len_bytes: usize) {
    execution::note_piece(address.addr().get(), len_bytes);
}

/// As `sys::thread_id`.
pub(crate) fn thread_id() -> u32 {
    let id = format!("{:?}", loom::thread::current().id());
    let number = id.trim_matches(|c: char| !c.is_ascii_digit());
    1 + number.parse::<u32>().expect("a number in the id of a thread")
}

fn sleepers() -> Rc<Sleepers> {
    SLEEPERS.with_borrow(|sleepers| sleepers.clone().expect("a run"))
}

/// As `sys::futex_wake_all`.
pub(crate) fn futex_wake_all(_word: &AtomicU32) {
    let sleepers = sleepers();
    let _guard = sleepers.0.lock();
    sleepers.1.notify_all();
}

/// As `sys::futex_wait`, for ever: a sleeper that nobody wakes is a deadlock of the model.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, _timeout: Duration) {
    let sleepers = sleepers();
    let guard = sleepers.0.lock().expect("no thread of a model panics");
    if word.load(Ordering::Relaxed) == expected {
        drop(sleepers.1.wait(guard));
    }
}
