//! Turns a deadlock into a failure: ends the process, with a message, when a test takes too long.
//!
//! Called first in a test that would hang if it failed. The thread it starts is left to itself; it ends with the
//! process.

use std::thread;
use std::time::Duration;

/// Aborts the process unless it has ended within `limit`, saying that `what` hangs.
pub(crate) fn abort_unless_done_in(limit: Duration, what: &'static str) {
    thread::spawn(move || {
        // Signals of the test are not for this thread, whose alternate stack is small.
        // SAFETY: the set is filled before it is read.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
        }
        thread::sleep(limit);
        let message = format!("\n{what}: no end after {limit:?}, taken for a deadlock\n");
        // SAFETY: writes bytes that exist. Not through std, whose locks may be part of the deadlock.
        unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
        std::process::abort();
    });
}
