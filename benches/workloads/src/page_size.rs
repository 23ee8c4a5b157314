//! Keeps the process to pages of the least size, so that resident memory is what was touched.
//!
//! Some allocators ask for huge pages where the system grants them on request: then all numbers are multiples of 2 MiB,
//! and memory that nobody wrote is resident.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_ulong};

/// Of `linux/prctl.h`.
const PR_SET_THP_DISABLE: c_int = 41;

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
}

/// For the whole process, from the next page on.
pub(crate) fn no_huge_pages() -> Result<(), String> {
    let (on, unused): (c_ulong, c_ulong) = (1, 0);
    // SAFETY: this option reads four numbers, and sets a flag of the process.
    match unsafe { prctl(PR_SET_THP_DISABLE, on, unused, unused, unused) } {
        0 => Ok(()),
        _ => Err(format!("prctl(PR_SET_THP_DISABLE): {}", std::io::Error::last_os_error())),
    }
}
