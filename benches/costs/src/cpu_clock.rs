//! The processor time of this process, all its threads together.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::time::Duration;

pub(crate) fn process_time() -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to memory for one of these; a failed call leaves it as it is, and zeros are valid.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, time.as_mut_ptr());
        time.assume_init()
    };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
