//! What a forked child must know and put right.
//!
//! The handler runs in the child, on its only thread, before `fork` returns: no allocation, no lock.
#![allow(unsafe_code, reason = "a handler for forks is registered with libc")]

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::{io, ptr, thread};

use heaptally_capture::census;

use super::aggregator::with_signals_blocked;
use super::{internal, thread as this_thread};

/// Forks between the process that called `start` and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// Whether the aggregator is in the symbolizer, where locks of the loader and of the `backtrace` crate are taken.
static SYMBOLIZING: AtomicBool = AtomicBool::new(false);
/// Whether this process was forked at such an instant: those locks may be held for ever.
static SYMBOLS_LOST: AtomicBool = AtomicBool::new(false);

/// Asks to be told of forks, once. Called by `start`, by one thread at a time.
pub(crate) fn watch() -> io::Result<()> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: the handler does only what may be done in a forked child: it uses atomics and memory that exists.
    match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => {
            WATCHED.store(true, Ordering::Relaxed);
            Ok(())
        }
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Which process of the family this is.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Whether names can never be had in this process.
pub(crate) fn symbols_lost() -> bool {
    SYMBOLS_LOST.load(Ordering::Relaxed)
}

/// Whether the locks that the symbolizer takes can be had. Another thread of the parent may have held one at the
/// instant of the fork; then it is held for ever here, and asking can only be left to a thread that nobody waits for.
pub(crate) fn symbols_answer() -> bool {
    /// Both locks are held for microseconds, unless somebody symbolizes.
    const PATIENCE: Duration = Duration::from_secs(1);
    let (answer, answered) = sync_channel(1);
    let probe = move || {
        internal(|| {
            // SAFETY: the callback reads nothing and ends the walk.
            unsafe { libc::dl_iterate_phdr(Some(first_is_enough), ptr::null_mut()) };
            backtrace::trace(|_| false);
            _ = answer.send(());
        });
    };
    with_signals_blocked(|| thread::Builder::new().spawn(probe)).is_ok() && answered.recv_timeout(PATIENCE).is_ok()
}

extern "C" fn first_is_enough(_: *mut libc::dl_phdr_info, _: libc::size_t, _: *mut c_void) -> c_int {
    1
}

/// Marks the time in which the symbolizer works.
pub(crate) fn while_symbolizing<R>(f: impl FnOnce() -> R) -> R {
    struct Mark;
    impl Drop for Mark {
        fn drop(&mut self) {
            SYMBOLIZING.store(false, Ordering::SeqCst);
        }
    }
    SYMBOLIZING.store(true, Ordering::SeqCst);
    let _mark = Mark;
    f()
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    if SYMBOLIZING.swap(false, Ordering::SeqCst) {
        SYMBOLS_LOST.store(true, Ordering::Relaxed);
    }
    // The fork may have come in the middle of `start`.
    super::settle_start();
    census::repair_after_fork(this_thread::state());
}
