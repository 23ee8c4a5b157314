//! A program that leaves /proc behind, by `chroot` as a rule, keeps its threads apart, under the names known so far.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;

use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::Builder;

use conserved::quiet_snapshot;
use heaptally::{Config, Symbolize, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// Whether there are no files any more.
static GONE: AtomicBool = AtomicBool::new(false);

/// # Safety
///
/// As libc's.
// SAFETY: takes the place of a function that is called with two arguments or three, of these types; does what that one
// does, or fails as it may.
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    if GONE.load(Ordering::Relaxed) {
        // SAFETY: this thread's own word.
        unsafe { *libc::__errno_location() = libc::ENOENT };
        return -1;
    }
    // SAFETY: the caller's promise.
    unsafe { libc::openat(libc::AT_FDCWD, path, flags, mode) }
}

#[test]
fn threads_have_their_rows_when_there_is_no_proc() {
    heaptally::start(Config::new().symbolize(Symbolize::Off)).unwrap();
    let (begun, has_begun) = channel();
    let (end, ends) = channel::<()>();
    let body = move || {
        begun.send(()).unwrap();
        _ = ends.recv();
    };
    let thread = Builder::new().name("worker".to_owned()).spawn(body).unwrap();
    has_begun.recv().unwrap();
    let ids = || {
        let snapshot = quiet_snapshot().unwrap();
        let named = snapshot.threads().iter().find(|row| row.name() == "worker").map(|row| row.os_id());
        (named, snapshot.threads().iter().filter(|row| row.os_id().is_some()).count())
    };
    let before = ids();
    assert!(matches!(before, (Some(Some(_)), 3..)), "{before:?}");
    GONE.store(true, Ordering::Relaxed);
    assert_eq!((ids(), ids()), (before, before));
    GONE.store(false, Ordering::Relaxed);
    drop(end);
    thread.join().unwrap();
}
