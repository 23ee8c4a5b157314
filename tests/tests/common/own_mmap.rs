//! The program's own `mmap`, in place of libc's: the test says of each mapping what becomes of it.
//!
//! Called by whoever calls `mmap` by that name, heaptally among them, on any thread and inside the allocator: what
//! answers allocates nothing that it does not mean to. libc's allocator and its threads have names of their own for it.

use std::ffi::{c_int, c_void};

/// # Safety
///
/// As libc's.
// SAFETY: has the signature of the function whose place it takes, and does what that one does, or fails as it may.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    address: *mut c_void,
    len: usize,
    access: c_int,
    kind: c_int,
    file: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    if crate::is_refused(len, kind) {
        // SAFETY: this thread's own word.
        unsafe { *libc::__errno_location() = libc::ENOMEM };
        return libc::MAP_FAILED;
    }
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_mmap, address, len, access, kind, file, offset) as *mut c_void }
}
