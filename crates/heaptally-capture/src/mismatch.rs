//! The end of a process whose stacks were found wrong, said loudly.
//!
//! Called in the hook, under test, when a capture differs from the platform's unwinder. Formats into a buffer on the
//! stack and writes it to standard error: nothing here allocates.

use core::fmt::{self, Write};

/// Writes both stacks to standard error, and aborts.
#[cold]
pub(crate) fn abort(ours: impl Iterator<Item = u64>, theirs: impl Iterator<Item = u64>) -> ! {
    let mut error = StandardError;
    // A closed standard error is no reason to go on.
    let _ = writeln!(error, "heaptally: a capture differs from the platform's unwinder; leaf first, ours and theirs:");
    let mut ours = ours.fuse();
    let mut theirs = theirs.fuse();
    loop {
        let (our, their) = (ours.next(), theirs.next());
        if our.is_none() && their.is_none() {
            break;
        }
        let mark = if our == their { ' ' } else { '!' };
        let _ = writeln!(error, "{mark} {:#18x} {:#18x}", our.unwrap_or(0), their.unwrap_or(0));
    }
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}

struct StandardError;

impl fmt::Write for StandardError {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: writes bytes of a live string.
        let written = unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
        if written < 0 { Err(fmt::Error) } else { Ok(()) }
    }
}
