//! Memory for everything this crate keeps: bump-allocated from large zeroed mappings, never returned.
//!
//! Called on any thread, on cold paths inside the allocator; makes at most one system call, takes no lock. What it
//! hands out is zeroed, lives for ever and is never handed out again, so a `&'static` into it needs no further
//! argument. Those who want to reuse memory keep free lists of their own.
//!
//! It has a limit, beyond which it refuses as the system may. From three quarters of it on memory is *scarce*: then
//! what can be done without is not asked for, so that the rest is left to what cannot.
//!
//! ```text
//!  current ─► chunk n   [ header │ handed out ....... │ free ........... ]   1 MiB
//!             chunk n-1 [ header │ handed out ................ │ slack   ]   forgotten: its users keep it
//! ```

use core::mem::size_of;
use core::ptr::NonNull;

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sys::{self, PAGE_BYTES};

/// Bytes of one chunk. One mapping of this size costs as much as one of a page.
const CHUNK_BYTES: usize = 1 << 20;
/// Requests above this get a mapping of their own, so that a chunk's tail is not thrown away for them.
const LARGE_BYTES: usize = CHUNK_BYTES / 4;
/// The strongest alignment that can be asked for.
const MAX_ALIGN: usize = 128;

/// A type whose all-zero bytes are a valid value that other threads may share at once.
///
/// # Safety
///
/// All-zero bytes are a valid `Self`, `Self` is `Sync` and needs no drop.
pub unsafe trait Zeroed: Sync {}

// SAFETY: a zero atomic word is valid, shared and needs no drop.
unsafe impl Zeroed for AtomicU32 {}

/// The first bytes of a chunk.
#[repr(C)]
struct Chunk {
    /// Offset of the first free byte; grows past [`CHUNK_BYTES`] when threads find the chunk full.
    used: AtomicUsize,
}

/// See the module's head.
pub struct Arena {
    current: AtomicPtr<Chunk>,
    mapped_bytes: AtomicUsize,
    handed_out_bytes: AtomicUsize,
    /// The most bytes that may be mapped.
    limit_bytes: AtomicUsize,
    failed_mappings: AtomicU64,
    /// Mappings that were not asked for because of the limit.
    refused_by_limit: AtomicU64,
    /// Mappings wanted since the system began to refuse them, 0 while it gives, by the binary logarithm of their length:
    /// what refuses a large one may have room for small ones.
    wanted_in_vain: [AtomicU64; usize::BITS as usize],
}

impl Arena {
    /// An arena without memory; the first request maps some.
    pub(crate) const fn new() -> Self {
        Self {
            current: AtomicPtr::new(core::ptr::null_mut()),
            mapped_bytes: AtomicUsize::new(0),
            handed_out_bytes: AtomicUsize::new(0),
            limit_bytes: AtomicUsize::new(usize::MAX),
            failed_mappings: AtomicU64::new(0),
            refused_by_limit: AtomicU64::new(0),
            wanted_in_vain: [const { AtomicU64::new(0) }; usize::BITS as usize],
        }
    }

    /// A zeroed `T` that lives for ever, or `None` when the system gives no memory.
    pub fn one<T: Zeroed>(&self) -> Option<&'static T> {
        self.slice::<T, 1>().map(|array| &array[0])
    }

    /// A zeroed array that lives for ever, or `None` when the system gives no memory.
    pub fn slice<T: Zeroed, const N: usize>(&self) -> Option<&'static [T; N]> {
        const { assert!(align_of::<T>() <= MAX_ALIGN) };
        let bytes = self.bytes(size_of::<[T; N]>(), align_of::<T>())?;
        #[cfg(heaptally_loom)]
        crate::models::system::note_handed_out(bytes, size_of::<[T; N]>());
        // SAFETY: fresh zeroed memory of that size and alignment, handed out once and never unmapped; `T: Zeroed`.
        Some(unsafe { bytes.cast::<[T; N]>().as_ref() })
    }

    /// A zeroed array of so many elements that lives for ever, or `None` when the system gives no memory.
    pub(crate) fn array<T: Zeroed>(&self, len: usize) -> Option<&'static [T]> {
        const { assert!(align_of::<T>() <= MAX_ALIGN) };
        let bytes = self.bytes(len.checked_mul(size_of::<T>())?, align_of::<T>())?;
        #[cfg(heaptally_loom)]
        crate::models::system::note_handed_out(bytes, len * size_of::<T>());
        // SAFETY: as in `slice`.
        Some(unsafe { core::slice::from_raw_parts(bytes.cast::<T>().as_ptr(), len) })
    }

    /// A zeroed `T` of many pages, few of which will be touched, or `None` when the system gives no memory. Whose it is
    /// knows how much of it is in use, and bounds it: it is in no sum here, and the limit does not refuse it.
    pub(crate) fn sparse<T: Zeroed>(&self) -> Option<NonNull<T>> {
        const { assert!(align_of::<T>() <= PAGE_BYTES) };
        self.ask_system(size_of::<T>().next_multiple_of(PAGE_BYTES)).map(NonNull::cast)
    }

    /// Gives back what [`Arena::sparse`] gave.
    ///
    /// # Safety
    ///
    /// Nobody has seen it.
    pub(crate) unsafe fn take_back<T: Zeroed>(&self, sparse: NonNull<T>) {
        // SAFETY: the caller's; the length is the one that was mapped.
        unsafe { sys::unmap(sparse.cast(), size_of::<T>().next_multiple_of(PAGE_BYTES)) };
    }

    /// Gives back an array that nobody has seen but who got it. A small one stays: its zeros are lost.
    ///
    /// # Safety
    ///
    /// `array` is all of what one call of [`Arena::array`] gave, and no reference into it is used again.
    pub(crate) unsafe fn give_back<T: Zeroed>(&self, array: NonNull<[T]>) {
        let len = array.len() * size_of::<T>();
        if len > LARGE_BYTES {
            self.handed_out_bytes.fetch_sub(len, Ordering::Relaxed);
            // SAFETY: a mapping of its own, of this length; nobody has it any more.
            unsafe { self.unmap(array.cast(), len.next_multiple_of(PAGE_BYTES)) };
        }
    }

    /// The most bytes of address space that may be taken.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Changes the limit. What is mapped stays, and is used up.
    pub fn set_limit_bytes(&self, limit_bytes: usize) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    /// Whether three quarters of the limit are used: what can be done without is to be refused.
    pub(crate) fn is_scarce(&self) -> bool {
        let limit = self.limit_bytes();
        self.mapped_bytes() >= limit - limit / 4
    }

    /// How often the limit has refused a mapping.
    pub fn refused_by_limit(&self) -> u64 {
        self.refused_by_limit.load(Ordering::Relaxed)
    }

    /// Bytes handed out: an upper bound of what this crate has touched.
    pub fn handed_out_bytes(&self) -> usize {
        self.handed_out_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of address space taken from the system.
    pub fn mapped_bytes(&self) -> usize {
        self.mapped_bytes.load(Ordering::Relaxed)
    }

    /// How often the system refused a mapping.
    pub fn failed_mappings(&self) -> u64 {
        self.failed_mappings.load(Ordering::Relaxed)
    }

    fn bytes(&self, len: usize, align: usize) -> Option<NonNull<u8>> {
        if len > LARGE_BYTES {
            let address = self.map(len.checked_next_multiple_of(PAGE_BYTES)?)?;
            self.handed_out_bytes.fetch_add(len, Ordering::Relaxed);
            return Some(address);
        }
        loop {
            // Acquire: pairs with the Release in `replace`; the chunk's header is initialised.
            let chunk = self.current.load(Ordering::Acquire);
            if let Some(address) = NonNull::new(chunk).and_then(|chunk| Self::bump(chunk, len, align)) {
                self.handed_out_bytes.fetch_add(len, Ordering::Relaxed);
                return Some(address);
            }
            self.replace(chunk)?;
        }
    }

    /// Takes `len` bytes from `chunk`, or `None` when it is full.
    fn bump(chunk: NonNull<Chunk>, len: usize, align: usize) -> Option<NonNull<u8>> {
        // SAFETY: chunks are never unmapped once published.
        let used = unsafe { &chunk.as_ref().used };
        let mut offset = used.load(Ordering::Relaxed);
        loop {
            let start = offset.next_multiple_of(align);
            let end = start + len;
            if end > CHUNK_BYTES {
                return None;
            }
            // Relaxed: the bytes were zeroed by the kernel before anyone could see the chunk; only the claim matters.
            match used.compare_exchange_weak(offset, end, Ordering::Relaxed, Ordering::Relaxed) {
                // SAFETY: `start + len` is inside the chunk.
                Ok(_) => return Some(unsafe { chunk.cast::<u8>().add(start) }),
                Err(seen) => offset = seen,
            }
        }
    }

    /// Puts a fresh chunk in the place of the full one; a thread that comes second gives its own back.
    fn replace(&self, full: *mut Chunk) -> Option<()> {
        let fresh = self.map(CHUNK_BYTES)?.cast::<Chunk>();
        // SAFETY: ours alone until published below.
        unsafe { fresh.as_ref() }.used.store(size_of::<Chunk>(), Ordering::Relaxed);
        // Release: pairs with the Acquire in `bytes`.
        if self.current.compare_exchange(full, fresh.as_ptr(), Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: nobody has seen this mapping.
            unsafe { self.unmap(fresh.cast(), CHUNK_BYTES) };
        }
        Some(())
    }

    fn map(&self, len_bytes: usize) -> Option<NonNull<u8>> {
        self.take(len_bytes)?;
        let address = self.ask_system(len_bytes);
        if address.is_none() {
            self.mapped_bytes.fetch_sub(len_bytes, Ordering::Relaxed);
        }
        address
    }

    /// Takes so many bytes of the limit.
    fn take(&self, len_bytes: usize) -> Option<()> {
        let mut mapped = self.mapped_bytes.load(Ordering::Relaxed);
        loop {
            // Check, then compare-and-swap, so that the limit holds.
            let taken = mapped.checked_add(len_bytes).filter(|&taken| taken <= self.limit_bytes());
            let Some(taken) = taken else {
                self.refused_by_limit.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            match self.mapped_bytes.compare_exchange_weak(mapped, taken, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(()),
                Err(seen) => mapped = seen,
            }
        }
    }

    /// Maps so many bytes, whatever the limit.
    fn ask_system(&self, len_bytes: usize) -> Option<NonNull<u8>> {
        // While the system refuses, it is asked at every power of two, and every 4096th time: the hook comes by here
        // with every operation then, and a system call is not for every operation.
        let in_vain = &self.wanted_in_vain[len_bytes.ilog2() as usize];
        let wanted = in_vain.load(Ordering::Relaxed);
        if wanted != 0 && !wanted.is_power_of_two() && !wanted.is_multiple_of(4096) {
            in_vain.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let address = sys::map(len_bytes);
        match address {
            Some(_) => in_vain.store(0, Ordering::Relaxed),
            None => {
                self.failed_mappings.fetch_add(1, Ordering::Relaxed);
                in_vain.fetch_add(1, Ordering::Relaxed);
            }
        }
        address
    }

    /// # Safety
    ///
    /// As for [`sys::unmap`].
    unsafe fn unmap(&self, address: NonNull<u8>, len_bytes: usize) {
        self.mapped_bytes.fetch_sub(len_bytes, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { sys::unmap(address, len_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than fits a chunk.
    const LARGE: usize = CHUNK_BYTES / size_of::<AtomicU32>();

    #[test]
    fn the_limit_holds_and_what_is_mapped_is_used_up() {
        let arena = Arena::new();
        assert!(arena.one::<AtomicU32>().is_some());
        arena.set_limit_bytes(2 * CHUNK_BYTES);
        assert!(!arena.is_scarce());
        assert!(arena.array::<AtomicU32>(LARGE).is_some());
        assert!(arena.is_scarce());
        assert!(arena.array::<AtomicU32>(LARGE).is_none());
        assert_eq!((arena.refused_by_limit(), arena.failed_mappings()), (1, 0));
        // The first chunk has room.
        assert!(arena.one::<AtomicU32>().is_some());
        assert_eq!(arena.mapped_bytes(), 2 * CHUNK_BYTES);
    }

    #[test]
    fn a_large_array_that_is_given_back_is_in_no_sum() {
        let arena = Arena::new();
        let array = arena.array::<AtomicU32>(LARGE + 1).unwrap();
        assert_eq!(arena.mapped_bytes(), CHUNK_BYTES + PAGE_BYTES);
        // SAFETY: all of it, and not used again.
        unsafe { arena.give_back(NonNull::from(array)) };
        assert_eq!((arena.mapped_bytes(), arena.handed_out_bytes()), (0, 0));
    }
}
