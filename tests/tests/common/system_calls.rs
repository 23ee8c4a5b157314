//! A process that ends itself at its next system call, saying which it was.
//!
//! Used in a forked child, on its test's thread: the kernel asks a filter about this thread's calls, and sends a signal
//! for each but those that end the process. There is no way back.

use std::ffi::{c_int, c_void};
use std::{mem, ptr};

/// The exit status of a process that made a system call.
pub(crate) const MADE_ONE: u8 = 254;

/// From here on, the calling thread ends the process when it makes a system call other than `write` and `exit_group`.
///
/// # Errors
///
/// When the kernel takes no filter.
pub(crate) fn forbid() -> Result<(), String> {
    let error = |what: &str| format!("{what}: {}", std::io::Error::last_os_error());
    // SAFETY: zeros are a valid `sigaction`, filled in below; the handler does what a handler may.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_system_call;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        if libc::sigaction(libc::SIGSYS, &action, ptr::null_mut()) != 0 {
            return Err(error("sigaction"));
        }
    }
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0);
    // One instruction further when it is not this one.
    let unless = |call| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 1);
    let answer = |answer| statement(libc::BPF_RET | libc::BPF_K, answer, 0);
    let mut filter = [
        // The number of the call is the first word of what the filter is shown.
        load(0),
        unless(libc::SYS_write),
        answer(libc::SECCOMP_RET_ALLOW),
        unless(libc::SYS_exit_group),
        answer(libc::SECCOMP_RET_ALLOW),
        answer(libc::SECCOMP_RET_TRAP),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program outlives the calls, which copy it.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(error("PR_SET_NO_NEW_PRIVS"));
        }
        if libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0 {
            return Err(error("PR_SET_SECCOMP"));
        }
    }
    Ok(())
}

fn statement(code: u32, k: u32, otherwise_skip: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: otherwise_skip, k }
}

extern "C" fn on_system_call(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the context of what it interrupted.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let number = context.uc_mcontext.gregs[libc::REG_RAX as usize];
    let mut message = *b"in the child: system call 000\n";
    for (place, power) in [(26, 100), (27, 10), (28, 1)] {
        message[place] = b'0' + (number / power % 10) as u8;
    }
    // SAFETY: writes bytes that exist; ends the process.
    unsafe {
        libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
        libc::_exit(MADE_ONE.into());
    }
}
