//! What a forked child must know and put right.
//!
//! The handler runs in the child, on its only thread, before `fork` returns: no allocation, no lock. libc calls it for `fork`
//! alone. A child that was made otherwise, by `_Fork` or a system call, finds out when it first wants an aggregator: a page
//! that the kernel empties in children has lost its mark.
#![allow(unsafe_code, reason = "a handler for forks is registered with libc")]

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::{io, process, ptr, thread};

use heaptally_capture::{PROCESS, census};

use super::aggregator::with_signals_blocked;
use super::{internal, thread as this_thread};

/// Forks between the process that called `start` and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// Whether the aggregator is in the symbolizer, where locks of the loader and of the `backtrace` crate are taken.
static SYMBOLIZING: AtomicBool = AtomicBool::new(false);
/// Whether this process was forked at such an instant: those locks may be held for ever.
static SYMBOLS_LOST: AtomicBool = AtomicBool::new(false);

/// The system's number of the process that noted itself as a child without having been told.
static NOTED_UNTOLD: AtomicU32 = AtomicU32::new(0);
/// The first word of a page that is empty in a child; null before [`watch`], and with kernels before 4.14.
static MARK: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// What the word is in a child that does not know it yet, while one thread notes it, and afterwards.
const EMPTY: u32 = 0;
const NOTING: u32 = 1;
const MARKED: u32 = 2;

/// Asks to be told of forks, once. Called by `start`, by one thread at a time.
pub(crate) fn watch() -> io::Result<()> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.load(Ordering::Relaxed) {
        return Ok(());
    }
    map_mark();
    // SAFETY: the handler does only what may be done in a forked child: it uses atomics and memory that exists.
    match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => {
            WATCHED.store(true, Ordering::Relaxed);
            Ok(())
        }
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Makes [`MARK`], unless a `start` that failed has done so.
fn map_mark() {
    if mark().is_some() {
        return;
    }
    let len_bytes = size_of::<AtomicU32>();
    // SAFETY: a fresh mapping of a page, zeros, which stays for ever; without the advice it is given back unseen.
    let word = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let page = libc::mmap(ptr::null_mut(), len_bytes, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        if page == libc::MAP_FAILED {
            return;
        }
        if libc::madvise(page, len_bytes, libc::MADV_WIPEONFORK) != 0 {
            libc::munmap(page, len_bytes);
            return;
        }
        page.cast::<AtomicU32>()
    };
    // SAFETY: the first word of the page.
    unsafe { &*word }.store(MARKED, Ordering::Relaxed);
    // Release: pairs with the Acquire in `mark`.
    MARK.store(word, Ordering::Release);
}

fn mark() -> Option<&'static AtomicU32> {
    // SAFETY: null, or a word that lives for ever.
    unsafe { MARK.load(Ordering::Acquire).as_ref() }
}

/// Says that the process knows that it is a child.
fn note_mark() {
    if let Some(mark) = mark() {
        // Release: pairs with the Acquire in `generation`; who finds the mark finds the number of the process.
        mark.store(MARKED, Ordering::Release);
    }
}

/// Which process of the family this is. In a child whose handler was not called, the first question makes it another one.
pub(crate) fn generation() -> u32 {
    while let Some(mark) = mark()
        && let word @ (EMPTY | NOTING) = mark.load(Ordering::Acquire)
    {
        if word == EMPTY && mark.compare_exchange(EMPTY, NOTING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            NOTED_UNTOLD.store(process::id(), Ordering::Relaxed);
            note_child();
            // Not the states of threads that are gone: this one may not be the only one any more.
            if let Some(own) = this_thread::state() {
                census::renew(own);
            }
            note_mark();
        }
        thread::yield_now();
    }
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

fn note_child() {
    PROCESS.unwinder.note_fork();
    GENERATION.fetch_add(1, Ordering::Relaxed);
    if SYMBOLIZING.swap(false, Ordering::SeqCst) {
        SYMBOLS_LOST.store(true, Ordering::Relaxed);
    }
}

extern "C" fn in_child() {
    // Another handler, which was called before this one, may have asked for an aggregator.
    if NOTED_UNTOLD.load(Ordering::Relaxed) != process::id() {
        note_child();
        note_mark();
    }
    // The fork may have come in the middle of `start`.
    super::settle_start();
    census::repair_after_fork(this_thread::state());
}
