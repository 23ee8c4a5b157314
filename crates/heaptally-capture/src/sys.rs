//! The few system calls the hot crate makes, all on cold paths.
//!
//! Callable on any thread, inside the allocator: nothing here allocates, locks or panics. `errno` is left as it was
//! found, because the program that called `malloc` or `free` may be about to read it.

use core::ffi::c_int;
use core::ptr::NonNull;
#[cfg(not(heaptally_loom))]
use core::time::Duration;

#[cfg(heaptally_loom)]
pub(crate) use crate::models::system::{futex_wait, futex_wake_all, thread_id};
#[cfg(not(heaptally_loom))]
use crate::sync::{AtomicU32, Ordering};

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Restores the calling thread's `errno` when dropped.
pub(crate) struct ErrnoGuard(c_int);

impl ErrnoGuard {
    pub(crate) fn save() -> Self {
        // SAFETY: __errno_location always returns this thread's valid errno slot.
        Self(unsafe { *libc::__errno_location() })
    }
}

impl Drop for ErrnoGuard {
    fn drop(&mut self) {
        // SAFETY: as in `save`.
        unsafe { *libc::__errno_location() = self.0 }
    }
}

/// Maps `len_bytes` of zeroed, private memory; `None` when the system refuses.
///
/// Huge pages are declined: our tables are sparse.
pub(crate) fn map(len_bytes: usize) -> Option<NonNull<u8>> {
    #[cfg(heaptally_loom)]
    if crate::models::system::refuses() {
        return None;
    }
    let _errno = ErrnoGuard::save();
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no existing memory.
    let address = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            len_bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return None;
    }
    let address = NonNull::new(address.cast())?;
    decline_huge_pages(address, len_bytes);
    #[cfg(heaptally_loom)]
    crate::models::system::note_mapped(address, len_bytes);
    Some(address)
}

/// Keeps the system from backing a sparse range of the program's memory, zeros so far, with 2 MiB for each touch.
pub(crate) fn decline_huge_pages(address: NonNull<u8>, len_bytes: usize) {
    let _errno = ErrnoGuard::save();
    let (begin, len_bytes) = whole_pages(address, len_bytes);
    // SAFETY: advice on mapped memory that changes no contents; a refusal changes nothing.
    unsafe { libc::madvise(begin.cast_mut().cast(), len_bytes, libc::MADV_NOHUGEPAGE) };
}

/// How many bytes of a mapped range are in memory, in whole pages; 0 when the system does not tell.
pub(crate) fn resident_bytes(address: NonNull<u8>, len_bytes: usize) -> usize {
    const PAGES: usize = 512;
    let _errno = ErrnoGuard::save();
    let (begin, len_bytes) = whole_pages(address, len_bytes);
    let mut resident = 0;
    for offset in (0..len_bytes).step_by(PAGES * PAGE_BYTES) {
        let len_bytes = (len_bytes - offset).min(PAGES * PAGE_BYTES);
        let mut pages = [0_u8; PAGES];
        // SAFETY: asks about mapped memory, of which it reads nothing; writes one byte for each of at most 512 pages.
        let told =
            unsafe { libc::mincore(begin.wrapping_add(offset).cast_mut().cast(), len_bytes, pages.as_mut_ptr()) };
        if told == 0 {
            resident += pages.iter().filter(|&&page| page & 1 != 0).count() * PAGE_BYTES;
        }
    }
    resident
}

/// The pages that a range lies in: where they begin, and their bytes.
fn whole_pages(address: NonNull<u8>, len_bytes: usize) -> (*const u8, usize) {
    let before = address.addr().get() % PAGE_BYTES;
    (address.as_ptr().wrapping_sub(before), (before + len_bytes).next_multiple_of(PAGE_BYTES))
}

/// Gives back a mapping made by [`map`] that nobody has seen.
///
/// # Safety
///
/// `address` and `len_bytes` are those of one call of [`map`], and no reference into it exists.
pub(crate) unsafe fn unmap(address: NonNull<u8>, len_bytes: usize) {
    let _errno = ErrnoGuard::save();
    #[cfg(heaptally_loom)]
    crate::models::system::note_unmapped(address);
    // SAFETY: the caller owns the whole mapping.
    unsafe { libc::munmap(address.as_ptr().cast(), len_bytes) };
}

/// What the system calls the calling thread.
#[cfg(not(heaptally_loom))]
pub(crate) fn thread_id() -> u32 {
    let _errno = ErrnoGuard::save();
    // SAFETY: no conditions.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// Wakes every thread that waits on `word`.
#[cfg(not(heaptally_loom))]
pub(crate) fn futex_wake_all(word: &AtomicU32) {
    let _errno = ErrnoGuard::save();
    // SAFETY: FUTEX_WAKE only uses the address of a live word as a key.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, c_int::MAX) };
}

/// Waits until `word` is woken, while it holds `expected`; may return for no reason.
#[cfg(not(heaptally_loom))]
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let _errno = ErrnoGuard::save();
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
    };
    if word.load(Ordering::Acquire) == expected {
        // SAFETY: the word and the timeout outlive the call; the kernel re-checks the value.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                expected,
                &raw const timeout,
            )
        };
    }
}

/// Sixteen random bytes that the kernel gave this process at exec, as two words; zeros where there are none.
pub(crate) fn process_random() -> [u64; 2] {
    // SAFETY: getauxval reads the auxiliary vector; AT_RANDOM is the address of 16 bytes that live as long as the
    // process.
    let address = unsafe { libc::getauxval(libc::AT_RANDOM) } as *const [u64; 2];
    if address.is_null() {
        return [0; 2];
    }
    // SAFETY: see above; the bytes carry no alignment.
    unsafe { address.read_unaligned() }
}
