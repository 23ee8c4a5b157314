//! Address space for an allocator of a test: mapped at the first use, memory once it is touched.
//!
//! Any thread, also in a signal handler: no lock. (A static array of this size would be as cheap for the program, and
//! gigabytes for the compiler.)

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// See the module's head.
pub(crate) struct AddressSpace<const BYTES: usize>(AtomicPtr<u8>);

impl<const BYTES: usize> AddressSpace<BYTES> {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Where it begins, page-aligned.
    pub(crate) fn base(&self) -> *mut u8 {
        let base = self.0.load(Ordering::Acquire);
        if base.is_null() { self.map() } else { base }
    }

    #[cold]
    fn map(&self) -> *mut u8 {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: a fresh mapping touches nothing that exists.
        let fresh = unsafe { libc::mmap(ptr::null_mut(), BYTES, access, kind, -1, 0) };
        if fresh == libc::MAP_FAILED {
            // SAFETY: ends the process; a panic would allocate.
            unsafe { libc::abort() };
        }
        match self.0.compare_exchange(ptr::null_mut(), fresh.cast(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => fresh.cast(),
            Err(first) => {
                // SAFETY: nobody has seen this one.
                unsafe { libc::munmap(fresh, BYTES) };
                first
            }
        }
    }
}
