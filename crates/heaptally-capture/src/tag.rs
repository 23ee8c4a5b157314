//! The eight bytes every block has of us: which stack it came from, when it was born, and a check that they are ours.
//!
//! Called on any thread in the hook; arithmetic and one access. Where the tag lies is a pure function of the block's
//! address and size, because Rust hands the size back at the free: of a small block behind its last byte, of a large one
//! in the page map, so that it keeps its exact size.
//!
//! ```text
//!  small ─► [ the program's bytes: layout.size() ][ tag, unaligned ]
//!  large ─► [ the program's bytes: layout.size() ]       page map ─► [ tag ]
//!                                                          63      40 39   14 13    0
//!  tag = seal(address, size) xor [ stack id │ birth │ 0 ]  [ stack id │ birth │ check ]
//! ```
//!
//! The seal is a keyed mix of address and size. Taking it away again leaves id and tick, if the tag is this block's: 14
//! bits must come out as zeros, those next to a small block above all, the id must be one that was issued, and the tick
//! not after now. If they are not, the block was overrun, freed with another layout, or came from somewhere else; that
//! is counted and never believed. In a process of a thousand stacks and an hour, one foreign word of two billion passes
//! (14 bits, 2^10 of 2^24 ids, 2^14 of 2^26 ticks). A tag is cleared at the free of its block, so a second one finds
//! nothing, and neither does the free of the next block there with the last one's size.

use core::alloc::Layout;

use crate::arena::Arena;
use crate::fault::{self, Fault};
use crate::page_map::{self, COARSE, FINE};
use crate::stack_id::StackId;
use crate::tick::Tick;

/// Blocks of so many bytes and more are large: two of them begin in two granules of the finer page map.
pub const LARGE_FROM_BYTES: usize = 1 << page_map::FINE_BITS;
/// Blocks of so many bytes and more begin in two granules of the coarser one.
const COARSE_FROM_BYTES: usize = 1 << page_map::COARSE_BITS;

/// Bytes of a tag.
pub const TAG_BYTES: usize = 8;

/// Bits of the check, below the tick, which is below the stack id.
pub(crate) const CHECK_BITS: u32 = u64::BITS - StackId::BITS - Tick::BITS;
const _: () = assert!(CHECK_BITS == 14);
const ID_SHIFT: u32 = CHECK_BITS + Tick::BITS;
/// 2^64 over the golden ratio: Knuth, The Art of Computer Programming, volume 3, 6.4.
pub(crate) const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Its address is the key.
static KEY: u8 = 0;

/// The process's key: differs from process to process, and is constant from the first instruction.
#[inline]
pub(crate) fn key() -> u64 {
    // PERF: a raw address is one memory operand of the addition.
    (&raw const KEY).addr() as u64
}

/// The least alignment the inner allocator is asked for. None tells smaller ones apart, and a constant lets the
/// compiler drop the inner allocator's own test of it.
pub const MIN_ALIGN: usize = 8;

/// Whether a block keeps its exact size.
#[inline]
pub fn is_large(size: usize) -> bool {
    size >= LARGE_FROM_BYTES
}

/// The layout to ask the inner allocator for: at least the same alignment, and room for the tag if the block is small.
/// `None` for sizes from 2^61 on, which could not grow and stay valid: no such block fits into 57 address bits, so null
/// is the only answer there is.
#[inline]
pub fn tagged_layout(size: usize, align: usize) -> Option<Layout> {
    if size >> 61 != 0 {
        return None;
    }
    // SAFETY: as for `layout_of`, and the size was just checked.
    Some(unsafe { layout_of(size, align) })
}

/// [`tagged_layout`] of a block that exists.
///
/// # Safety
///
/// `size` is below 2^61 and `align` that of a valid layout.
#[inline]
pub unsafe fn layout_of(size: usize, align: usize) -> Layout {
    let align = if align > MIN_ALIGN { align } else { MIN_ALIGN };
    let tag_bytes = if is_large(size) { 0 } else { TAG_BYTES };
    // SAFETY: a power of two, at most 2^62. Less than 2^61 + 8 bytes, rounded up to it, are at most 2^62.
    unsafe { Layout::from_size_align_unchecked(size + tag_bytes, align) }
}

/// Where the tag of a block lies, and what it is sealed with.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    address: *mut u64,
    /// Differs for any two blocks whose tags would lie here.
    place: u64,
}

impl Slot {
    /// The slot of a block; `None` for a large one in whose part of the page map there are none.
    ///
    /// # Safety
    ///
    /// `block` was allocated with [`tagged_layout`] for `size` bytes and belongs to the caller, as long as the slot is
    /// used.
    #[inline]
    pub(crate) unsafe fn of(block: *mut u8, size: usize) -> Option<Self> {
        if is_large(size) {
            // Blocks that begin in one granule differ in the lower bits of the address, or in the size.
            let (slot, place) = if size >= COARSE_FROM_BYTES {
                (COARSE.slot(block.addr()), block.addr() ^ size << page_map::COARSE_BITS)
            } else {
                (FINE.slot(block.addr()), block.addr() ^ size << page_map::FINE_BITS)
            };
            let place = if fault::is_planted(Fault::SizeNotSealed) { block.addr() } else { place };
            return Some(Self { address: slot?, place: place as u64 });
        }
        // SAFETY: inside the inner block, which has TAG_BYTES more than `size`.
        let address = unsafe { block.add(size).cast() };
        // Two small blocks whose tags lie in one place end there.
        Some(Self { address, place: block.addr().wrapping_add(size << 3) as u64 })
    }

    /// Makes sure that a large block has one. False when there is no memory for it: then the block has been counted as
    /// untagged.
    #[cold]
    pub(crate) fn make(block: *mut u8, size: usize, arena: &Arena) -> bool {
        let address = block.addr();
        if size >= COARSE_FROM_BYTES { COARSE.make_slot(address, arena) } else { FINE.make_slot(address, arena) }
    }

    /// Whether a large block without a slot may be one that was counted as untagged, which it no longer is then.
    #[cold]
    pub(crate) fn take_untagged(block: *mut u8, size: usize) -> bool {
        let address = block.addr();
        if size >= COARSE_FROM_BYTES { COARSE.take_untagged(address, size) } else { FINE.take_untagged(address, size) }
    }

    /// Adds the bytes of an untagged block, which is in its row.
    #[cold]
    pub(crate) fn add_untagged_bytes(size: usize) {
        if size >= COARSE_FROM_BYTES { COARSE.add_untagged_bytes(size) } else { FINE.add_untagged_bytes(size) }
    }

    /// What is to be sealed.
    #[inline]
    pub(crate) fn place(self) -> u64 {
        self.place
    }

    /// Writes the tag of a block of `id` that was born at `birth`.
    ///
    /// # Safety
    ///
    /// That of [`Slot::of`] still holds.
    #[inline]
    pub(crate) unsafe fn write(self, id: StackId, birth: Tick) {
        let tag = seal(self.place, key()) ^ ((id.index() as u64) << ID_SHIFT | birth.number() << CHECK_BITS);
        // SAFETY: the caller's.
        unsafe { self.set(tag) };
    }

    /// What is in it.
    ///
    /// # Safety
    ///
    /// As for [`Slot::write`].
    #[inline]
    pub(crate) unsafe fn get(self) -> u64 {
        // SAFETY: eight bytes that belong to the block.
        unsafe { self.address.read_unaligned() }
    }

    /// The stack id in a word that was in it, and when the block was born; `None` when the check fails, or the slot was
    /// empty.
    #[inline(always)]
    pub(crate) fn open(self, word: u64) -> Option<(StackId, Tick)> {
        let opened = word ^ seal(self.place, key());
        // Of empty slots, one of 2^14 would pass the check.
        let is_tag = word != 0 && (opened.trailing_zeros() >= CHECK_BITS || fault::is_planted(Fault::CheckNotLookedAt));
        is_tag.then(|| (StackId::new((opened >> ID_SHIFT) as u32), Tick::from_low_bits(opened >> CHECK_BITS)))
    }

    /// Puts a word in it.
    ///
    /// # Safety
    ///
    /// As for [`Slot::write`].
    #[inline]
    unsafe fn set(self, word: u64) {
        // SAFETY: eight bytes that belong to the block.
        unsafe { self.address.write_unaligned(word) };
    }

    /// Empties it, as its block is about to go: nobody is to take what is there for the tag of the next one.
    ///
    /// # Safety
    ///
    /// As for [`Slot::write`].
    #[inline]
    pub(crate) unsafe fn clear(self) {
        if !fault::is_planted(Fault::TagNotCleared) {
            // SAFETY: the caller's.
            unsafe { self.set(0) };
        }
    }
}

/// The seal of a place: the upper bits of the product, on which all bits of the place have worked, become the check. A
/// product with the key would not do: the checks of places near each other would often be the same.
#[inline(always)]
pub(crate) fn seal(place: u64, key: u64) -> u64 {
    place.wrapping_add(key).wrapping_mul(SPREAD).rotate_left(CHECK_BITS)
}

/// Hides from the optimizer where a pointer came from.
///
/// LLVM knows `__rust_alloc` and what memory beyond the requested size may hold: nothing. Seen through, an access to
/// the tag is folded or dropped. The empty block "may" have produced any pointer and written any memory.
#[inline(always)]
pub fn launder(block: *mut u8) -> *mut u8 {
    let mut opaque = block;
    #[cfg(not(miri))]
    // SAFETY: no instruction at all.
    unsafe {
        core::arch::asm!("/* {0} */", inout(reg) opaque, options(nostack, preserves_flags))
    };
    #[cfg(miri)]
    {
        opaque = core::hint::black_box(opaque);
    }
    opaque
}

#[cfg(test)]
mod tests {
    use super::*;

    static ARENA: Arena = Arena::new();
    const BIRTH: Tick = Tick::new(40_000);

    /// A block of 24 bytes as the inner allocator would hand it out.
    fn block() -> [u8; 32] {
        [0xAA; 32]
    }

    /// # Safety
    ///
    /// As for [`Slot::of`].
    unsafe fn write(block: *mut u8, size: usize, id: StackId) {
        // SAFETY: the caller's.
        unsafe { Slot::of(block, size).unwrap().write(id, BIRTH) };
    }

    /// # Safety
    ///
    /// As for [`Slot::of`].
    unsafe fn read(block: *mut u8, size: usize) -> Option<StackId> {
        // SAFETY: the caller's.
        let slot = unsafe { Slot::of(block, size) }.unwrap();
        // SAFETY: the caller's.
        let (id, birth) = slot.open(unsafe { slot.get() })?;
        assert_eq!(birth, BIRTH);
        Some(id)
    }

    /// A large block, of which nothing but the address is looked at.
    fn large(address: usize) -> *mut u8 {
        let block = core::ptr::without_provenance_mut(address);
        assert!(Slot::make(block, 256, &ARENA) && Slot::make(block, 4096, &ARENA));
        block
    }

    #[test]
    fn a_tag_reads_back_its_stack() {
        let mut bytes = block();
        for index in [0, 16, 0x00FF_FFFF] {
            let id = StackId::new(index);
            // SAFETY: 24 + 8 bytes.
            unsafe {
                write(bytes.as_mut_ptr(), 24, id);
                assert_eq!(read(bytes.as_mut_ptr(), 24), Some(id));
            }
            let block = large(0x4000_0000_0010);
            // SAFETY: a slot that no other test uses.
            unsafe {
                write(block, 256, id);
                assert_eq!(read(block, 256), Some(id));
            }
        }
        assert_eq!(bytes[..24], [0xAA; 24]);
    }

    #[test]
    fn an_overrun_by_one_byte_fails_the_check() {
        let mut bytes = block();
        // SAFETY: 24 + 8 bytes.
        unsafe { write(bytes.as_mut_ptr(), 24, StackId::FIRST_REAL) };
        for value in 0..=255_u8 {
            let mut damaged = bytes;
            damaged[24] = value;
            if damaged[24] == bytes[24] {
                continue;
            }
            // The address is part of the check, so the damage is done in place.
            core::mem::swap(&mut damaged, &mut bytes);
            // SAFETY: 24 + 8 bytes.
            assert_eq!(unsafe { read(bytes.as_mut_ptr(), 24) }, None, "byte {value}");
            bytes = damaged;
        }
    }

    #[test]
    fn another_size_fails_the_check() {
        let mut bytes = [0_u8; 64];
        // SAFETY: 24 + 8 bytes of 64.
        unsafe { write(bytes.as_mut_ptr(), 24, StackId::FIRST_REAL) };
        bytes.copy_within(24..32, 32);
        // SAFETY: 32 + 8 bytes of 64.
        assert_eq!(unsafe { read(bytes.as_mut_ptr(), 32) }, None);
    }

    #[test]
    fn a_tag_left_behind_by_a_block_that_ended_there_too_fails_the_check() {
        let mut bytes = [0_u8; 64];
        // SAFETY: 48 + 8 bytes of 64; then the block of 40 bytes that starts 8 further on, whose tag lies in the same
        // place.
        unsafe {
            write(bytes.as_mut_ptr(), 48, StackId::FIRST_REAL);
            assert_eq!(read(bytes.as_mut_ptr().add(8), 40), None);
        }
    }

    #[test]
    fn no_other_block_that_begins_in_the_granule_passes_the_check() {
        let block = large(0x4000_1000_0010);
        for (size, others) in [
            (1000, [(0, 999), (0, 1001), (8, 1000), (8, 999), (16, 998), (0xEF, 1000), (0xEF, 970)]),
            (5000, [(0, 4999), (0, 5001), (8, 5000), (8, 4999), (256, 4999), (0xFEF, 5000), (0xFEF, 4970)]),
        ] {
            // SAFETY: a slot that no other test uses.
            unsafe { write(block, size, StackId::FIRST_REAL) };
            for (offset, other) in others {
                // SAFETY: as above.
                let read = unsafe { read(block.wrapping_add(offset), other) };
                assert_eq!(read, None, "{other} bytes, {offset} further on than {size}");
            }
            // SAFETY: as above.
            unsafe {
                Slot::of(block, size).unwrap().clear();
                assert_eq!(read(block, size), None);
            }
        }
    }

    #[test]
    fn the_two_maps_do_not_meet() {
        let block = large(0x4000_2000_0000);
        // SAFETY: slots that no other test uses.
        unsafe {
            write(block, 4095, StackId::FIRST_REAL);
            assert_eq!(read(block, 4096), None);
            write(block, 4096, StackId::PAUSED);
            assert_eq!(read(block, 4095), Some(StackId::FIRST_REAL));
        }
    }

    #[test]
    fn a_small_layout_grows_by_the_tag_and_a_large_one_stays() {
        assert_eq!(tagged_layout(24, 1), Some(Layout::from_size_align(32, 8).unwrap()));
        assert_eq!(tagged_layout(24, 64), Some(Layout::from_size_align(32, 64).unwrap()));
        assert_eq!(tagged_layout(255, 8), Some(Layout::from_size_align(263, 8).unwrap()));
        assert_eq!(tagged_layout(256, 8), Some(Layout::from_size_align(256, 8).unwrap()));
        assert_eq!(tagged_layout(2 << 20, 2 << 20), Some(Layout::from_size_align(2 << 20, 2 << 20).unwrap()));
        let largest = tagged_layout((1 << 61) - 1, 1 << 62).unwrap();
        assert_eq!(Layout::from_size_align((1 << 61) - 1, 1 << 62), Ok(largest));
        assert_eq!(tagged_layout(1 << 61, 1), None);
        assert_eq!(tagged_layout(isize::MAX as usize, 1), None);
    }
}
