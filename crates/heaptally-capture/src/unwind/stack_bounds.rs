//! Where the calling thread's own stack lies.
//!
//! Asked once per thread, at its first capture, inside the hook: for the main thread glibc reads a file of the kernel
//! for it, which takes 15 to 66 µs and may allocate through C.

use core::mem::MaybeUninit;

use crate::sys::ErrnoGuard;

/// The kernel keeps at least 128 MiB below the main thread's stack free of mappings; more than this of it is not relied
/// on, whatever the limit of the stack says.
const MAX_MAIN_BYTES: u64 = 64 << 20;

/// Offsets into the stack have 32 bits.
const MAX_BYTES: u64 = u32::MAX as u64;

/// A stack that stays mapped from any stack pointer in it up to `high`, as long as its thread lives. Empty where
/// nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackBounds {
    /// The lowest address.
    pub(crate) low: u64,
    /// One past the highest.
    pub(crate) high: u64,
}

impl StackBounds {
    pub(crate) const UNKNOWN: Self = Self { low: 0, high: 0 };

    /// The calling thread's; [`StackBounds::UNKNOWN`] when the system does not say.
    #[cold]
    pub(crate) fn of_this_thread() -> Self {
        let _errno = ErrnoGuard::save();
        let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
        let mut low = core::ptr::null_mut();
        let mut len_bytes = 0;
        // SAFETY: the attributes are filled when the first call returns 0, and destroyed once then.
        let known = unsafe {
            if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
                return Self::UNKNOWN;
            }
            let known = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut len_bytes) == 0;
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            known
        };
        let low = low.addr() as u64;
        let Some(high) = low.checked_add(len_bytes as u64).filter(|_| known && low != 0) else {
            return Self::UNKNOWN;
        };
        // SAFETY: both only return a number.
        let is_main = unsafe { i64::from(libc::getpid()) == libc::syscall(libc::SYS_gettid) };
        let most = if is_main { MAX_MAIN_BYTES } else { MAX_BYTES };
        let low = low.max(high.saturating_sub(most));
        Self { low, high }
    }

    #[inline]
    pub(crate) fn contains(self, address: u64) -> bool {
        self.low <= address && address < self.high
    }
}
