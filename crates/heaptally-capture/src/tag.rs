//! The eight bytes every block carries: which stack it came from, and a check that they are ours.
//!
//! Called on any thread in the hook; arithmetic and one unaligned access. Where the tag lies is a pure function of
//! the block's size, because Rust hands the size back at the free: here it lies behind the last byte.
//!
//! ```text
//!  block ─► [ the program's bytes: layout.size() ][ tag, unaligned ]
//!                                                  63      40 39     0
//!  tag = seal(address, size) xor [ stack id │ 0 ]  [ stack id │ check ]
//! ```
//!
//! The seal is a keyed mix of address and size. Taking it away again leaves the stack id, if the tag is this block's:
//! 40 bits must come out as zeros, those next to the block above all. If they do not, the block was overrun, freed
//! with another layout, or came from somewhere else; that is counted and never believed.

use core::alloc::Layout;

use crate::stack_id::StackId;

/// Bytes of a tag.
pub const TAG_BYTES: usize = 8;

/// Bits of the check, below the stack id.
pub(crate) const CHECK_BITS: u32 = u64::BITS - StackId::BITS;
const _: () = assert!(CHECK_BITS == 40);

/// Its address is the key.
static KEY: u8 = 0;

/// The process's key: differs from process to process, and is constant from the first instruction.
#[inline(always)]
pub(crate) fn key() -> u64 {
    // PERF: a raw address is one memory operand of the multiplication. Its trailing zeros only shift the product, of
    // which the top bits say nothing: places are addresses.
    (&raw const KEY).addr() as u64
}

/// The least alignment the inner allocator is asked for. None tells smaller ones apart, and a constant lets the
/// compiler drop the inner allocator's own test of it.
pub const MIN_ALIGN: usize = 8;

/// The layout to ask the inner allocator for: room for the tag, at least the same alignment. `None` for sizes from
/// 2^61 on, which could not grow and stay valid: no such block fits into 57 address bits, so null is the only answer
/// there is.
#[inline(always)]
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
#[inline(always)]
pub unsafe fn layout_of(size: usize, align: usize) -> Layout {
    let align = if align > MIN_ALIGN { align } else { MIN_ALIGN };
    // SAFETY: a power of two, at most 2^62. Less than 2^61 + 8 bytes, rounded up to it, are at most 2^62.
    unsafe { Layout::from_size_align_unchecked(size + TAG_BYTES, align) }
}

/// Address plus eight times the size: different for any two blocks whose tags would lie in one place.
#[inline(always)]
pub(crate) fn place(block: *mut u8, size: usize) -> u64 {
    block.addr().wrapping_add(size << 3) as u64
}

/// The seal of a place: the upper bits of the product, on which all bits of the place have worked, become the check.
#[inline(always)]
pub(crate) fn seal(place: u64, key: u64) -> u64 {
    place.wrapping_mul(key).rotate_left(CHECK_BITS)
}

/// Writes the tag of a block.
///
/// # Safety
///
/// `block` was allocated with [`tagged_layout`] for `size` bytes and belongs to the caller.
#[inline(always)]
pub(crate) unsafe fn write(block: *mut u8, size: usize, id: StackId) {
    let tag = seal(place(block, size), key()) ^ (id.index() as u64) << CHECK_BITS;
    // SAFETY: the inner block has TAG_BYTES more than `size`.
    unsafe { slot(block, size).write_unaligned(tag) };
}

/// The stack id in the tag of a block, or `None` when the check fails.
///
/// # Safety
///
/// As for [`write`].
#[inline]
pub(crate) unsafe fn read(block: *mut u8, size: usize) -> Option<StackId> {
    // SAFETY: as in `write`.
    let tag = unsafe { slot(block, size).read_unaligned() };
    let opened = tag ^ seal(place(block, size), key());
    (opened << StackId::BITS == 0).then(|| StackId::new((opened >> CHECK_BITS) as u32))
}

/// Where the tag of a block lies.
///
/// # Safety
///
/// As for [`write`].
#[inline(always)]
pub(crate) unsafe fn slot(block: *mut u8, size: usize) -> *mut u64 {
    // SAFETY: inside the inner block.
    unsafe { block.add(size).cast() }
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

    /// A block of 24 bytes as the inner allocator would hand it out.
    fn block() -> [u8; 32] {
        [0xAA; 32]
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
    fn a_layout_grows_by_the_tag_and_stays_valid() {
        assert_eq!(tagged_layout(24, 1), Some(Layout::from_size_align(32, 8).unwrap()));
        assert_eq!(tagged_layout(24, 64), Some(Layout::from_size_align(32, 64).unwrap()));
        let largest = tagged_layout((1 << 61) - 1, 1 << 62).unwrap();
        assert_eq!(Layout::from_size_align((1 << 61) + 7, 1 << 62), Ok(largest));
        assert_eq!(tagged_layout(1 << 61, 1), None);
        assert_eq!(tagged_layout(isize::MAX as usize, 1), None);
    }
}
