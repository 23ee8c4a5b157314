//! How often the calling thread has lost its processor.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Switches {
    /// To wait: for a lock, or for the system.
    pub(crate) voluntary: i64,
    /// To another thread whose turn it was.
    pub(crate) involuntary: i64,
}

impl Switches {
    /// Half a microsecond.
    pub(crate) fn here() -> Self {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the pointer is to memory for one of these; a failed call leaves it as it is, and zeros are valid.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
            usage.assume_init()
        };
        Self { voluntary: usage.ru_nvcsw, involuntary: usage.ru_nivcsw }
    }
}
