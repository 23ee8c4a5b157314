//! Sends signals to threads, and to the calling one in the middle of the allocator.
//!
//! A handler runs on whatever thread a signal is sent to. [`raise_in_hook`] makes the next capture of the calling
//! thread's stack raise one: the program's own `_Unwind_Backtrace`, which heaptally calls from the allocator when it is
//! told to verify captures, takes the place of the unwinder's.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::{mem, ptr};

thread_local! {
    /// The signal to raise at the next capture; 0 for none.
    static RAISE: Cell<c_int> = const { Cell::new(0) };
}

pub(crate) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Makes `handler` that of `signal`, on the alternate stack where the thread has one.
pub(crate) fn handle(signal: c_int, handler: Handler) {
    // SAFETY: a zeroed sigaction is valid; the handler has the type that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

/// Raises `signal` when the calling thread is next in the middle of taking a stack, in the allocator.
pub(crate) fn raise_in_hook(signal: c_int) {
    RAISE.set(signal);
}

type Visit = extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type Backtrace = unsafe extern "C" fn(Visit, *mut c_void) -> c_int;

/// # Safety
///
/// As the unwinder's.
// SAFETY: has the signature of the function whose place it takes, and does what that one does.
#[unsafe(no_mangle)]
unsafe extern "C" fn _Unwind_Backtrace(visit: Visit, argument: *mut c_void) -> c_int {
    let signal = RAISE.replace(0);
    if signal != 0 {
        // SAFETY: the handler of the tests' own.
        unsafe { libc::raise(signal) };
    }
    // SAFETY: the unwinder has a function of this name and type; the caller keeps its promises.
    unsafe {
        let next = libc::dlsym(libc::RTLD_NEXT, c"_Unwind_Backtrace".as_ptr());
        mem::transmute::<*mut c_void, Backtrace>(next)(visit, argument)
    }
}
