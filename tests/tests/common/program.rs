//! Tells the program's own code from libc's.
//!
//! Called in signal handlers. Where libc was interrupted, it may hold a lock: whoever stops there, or leaves, stops those
//! who need it.

use std::ptr;

/// Whether the interrupted instruction is the program's, heaptally's included.
pub(crate) fn is_interrupted(context: &libc::ucontext_t) -> bool {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let pc = context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize;
    (ptr::addr_of!(__executable_start).addr()..ptr::addr_of!(etext).addr()).contains(&pc)
}
