//! A system that refuses new mappings.
//!
//! Any thread; for the whole process.

use std::mem;

/// Refuses new mappings to this process until it is dropped.
pub(crate) struct Refusal(libc::rlimit);

impl Refusal {
    pub(crate) fn begin() -> Self {
        // SAFETY: reads into a limit of ours, and sets one; what is mapped stays.
        unsafe {
            let mut before: libc::rlimit = mem::zeroed();
            assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &mut before), 0);
            let less = libc::rlimit { rlim_cur: 1 << 20, ..before };
            assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &less), 0);
            Self(before)
        }
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        // SAFETY: the limit that was set before.
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &self.0) };
    }
}
