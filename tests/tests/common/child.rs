//! Forked children that say through their exit status whether all was well, and cannot hang.
//!
//! Called on the thread of a test, which is the child's only one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

/// A child ends itself after this time, with a signal.
const CHILD_SECONDS: u32 = 200;
const WAIT: Duration = Duration::from_secs(210);

/// Which of the two a process is after [`fork`].
#[allow(dead_code, reason = "fork_without_handlers forks otherwise")]
pub(crate) enum Fork {
    Child,
    Parent(libc::pid_t),
}

/// Forks and runs `body` in the child; 255 stands for an error, whose text goes to the standard error stream. Returns
/// what `body` returned in the child, or how the child ended otherwise.
#[allow(dead_code, reason = "as above")]
pub(crate) fn run(body: impl FnOnce() -> Result<u8, String>) -> Result<u8, String> {
    match fork()? {
        Fork::Child => exit(body),
        Fork::Parent(child) => wait(child),
    }
}

/// The child is to [`exit`], the parent to [`wait`].
#[allow(dead_code, reason = "as above")]
pub(crate) fn fork() -> Result<Fork, String> {
    // SAFETY: the child runs the test's code and `_exit`; what it may use is what the tests are about.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        -1 => Err(std::io::Error::last_os_error().to_string()),
        child => Ok(Fork::Parent(child)),
    }
}

/// Ends without the rest of the parent's test harness.
pub(crate) fn exit(body: impl FnOnce() -> Result<u8, String>) -> ! {
    // SAFETY: no conditions.
    unsafe { libc::alarm(CHILD_SECONDS) };
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| Err("panicked".to_owned()));
    let status = outcome.unwrap_or_else(|error| {
        let message = format!("in the child: {error}\n");
        // SAFETY: writes bytes that exist. Not through std, whose locks the parent may have held.
        unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
        255
    });
    // SAFETY: no conditions.
    unsafe { libc::_exit(status.into()) }
}

/// Waits for a child's end, and says how it came: see [`run`].
pub(crate) fn wait(child: libc::pid_t) -> Result<u8, String> {
    let began = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: writes the status of a child of ours.
        match unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } {
            0 if began.elapsed() > WAIT => {
                // SAFETY: our own child, not waited for yet.
                unsafe { libc::kill(child, libc::SIGKILL) };
                return Err(format!("no end after {WAIT:?}"));
            }
            0 => thread::sleep(Duration::from_millis(1)),
            -1 => return Err(std::io::Error::last_os_error().to_string()),
            _ if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != 255 => {
                return Ok(libc::WEXITSTATUS(status) as u8);
            }
            _ => return Err(format!("wait status {status:#x}")),
        }
    }
}
