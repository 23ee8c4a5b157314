//! Reading words of the stack, one or many.
//!
//! The slots of other frames belong to variables of the program or to nobody, and the code around may write them: no
//! plain load of them is defined, and a volatile one only forbids the compiler to be clever. What `asm!` loads is the
//! word that is in memory.

use core::ops::Range;

/// The word at an address.
///
/// # Safety
///
/// It is mapped, readable and a multiple of eight.
#[inline(always)]
pub(crate) unsafe fn stack_word(address: u64) -> u64 {
    let word;
    // SAFETY: loads a word that the caller vouches for.
    unsafe {
        core::arch::asm!(
            "mov {word}, qword ptr [{address}]",
            word = lateout(reg) word,
            address = in(reg) address,
            options(nostack, readonly, preserves_flags),
        );
    }
    word
}

/// Words of one stack and the values they had, in the order in which a walk from the root meets them.
#[repr(C, align(16))]
pub(crate) struct StackWords<const N: usize> {
    values: [u64; N],
    /// Each word's address, less the base.
    offsets: [u32; N],
}

/// Words that are compared without a branch between them.
pub(crate) const BLOCK: usize = 8;

impl<const N: usize> StackWords<N> {
    /// Puts a word at `index`. Its address is meaningless if it does not lie in the 4 GiB from the base.
    #[inline]
    pub(crate) fn set(&mut self, index: usize, offset: u64, value: u64) {
        self.offsets[index] = offset as u32;
        self.values[index] = value;
    }

    /// Fills what is missing of the last block with copies of the first word, and returns the number of words in whole
    /// blocks; 0 when they would not fit.
    #[inline]
    pub(crate) fn fill_block(&mut self, words: usize) -> usize {
        let filled = words.next_multiple_of(BLOCK);
        if filled > N {
            return 0;
        }
        for index in words..filled {
            self.offsets[index] = self.offsets[0];
            self.values[index] = self.values[0];
        }
        filled
    }

    #[inline]
    pub(crate) fn value(&self, index: usize) -> u64 {
        self.values[index]
    }

    #[inline]
    pub(crate) fn offset(&self, index: usize) -> u64 {
        self.offsets[index].into()
    }

    /// Takes over some words of another list, from index 0 on, and returns their number in whole blocks; `None`, and
    /// nothing done, when they do not fit.
    #[inline]
    pub(crate) fn copy<const M: usize>(&mut self, other: &StackWords<M>, range: Range<usize>) -> Option<usize> {
        let (values, offsets) = (other.values.get(range.clone())?, other.offsets.get(range)?);
        let words = values.len();
        self.values.get_mut(..words)?.copy_from_slice(values);
        self.offsets.get_mut(..words)?.copy_from_slice(offsets);
        Some(self.fill_block(words))
    }

    /// Whether the first `words` words, some whole blocks, still have the values they had.
    ///
    /// # Safety
    ///
    /// The first `words` words, at most `N`, are mapped, readable and at multiples of eight.
    #[inline(always)]
    pub(crate) unsafe fn all_unchanged(&self, base: u64, words: usize) -> bool {
        const { assert!(core::mem::offset_of!(Self, values) == 0 && N.is_multiple_of(2)) };
        let differs: u64;
        // PERF: two loads a word, no branch on what they bring, two words a register: 0.2 ns a word. With 64-bit
        // addresses and general registers 0.25, with AVX2 gathers 0.23, with AVX-512 gathers 0.17.
        // SAFETY: `begin` counts down to 0 from `words - BLOCK`; loads what the caller vouches for. Blocks of values
        // are at multiples of 16.
        unsafe {
            core::arch::asm!(
                "pxor xmm4, xmm4",
                "2:",
                "mov {a}, qword ptr [{this} + 4*{begin} + {offsets}]",
                "mov {b:e}, {a:e}",
                "shr {a}, 32",
                "movq xmm0, qword ptr [{base} + {b}]",
                "movhps xmm0, qword ptr [{base} + {a}]",
                "mov {a}, qword ptr [{this} + 4*{begin} + {offsets} + 8]",
                "mov {b:e}, {a:e}",
                "shr {a}, 32",
                "movq xmm1, qword ptr [{base} + {b}]",
                "movhps xmm1, qword ptr [{base} + {a}]",
                "mov {a}, qword ptr [{this} + 4*{begin} + {offsets} + 16]",
                "mov {b:e}, {a:e}",
                "shr {a}, 32",
                "movq xmm2, qword ptr [{base} + {b}]",
                "movhps xmm2, qword ptr [{base} + {a}]",
                "mov {a}, qword ptr [{this} + 4*{begin} + {offsets} + 24]",
                "mov {b:e}, {a:e}",
                "shr {a}, 32",
                "movq xmm3, qword ptr [{base} + {b}]",
                "movhps xmm3, qword ptr [{base} + {a}]",
                "pxor xmm0, xmmword ptr [{this} + 8*{begin}]",
                "pxor xmm1, xmmword ptr [{this} + 8*{begin} + 16]",
                "pxor xmm2, xmmword ptr [{this} + 8*{begin} + 32]",
                "pxor xmm3, xmmword ptr [{this} + 8*{begin} + 48]",
                "por xmm0, xmm1",
                "por xmm2, xmm3",
                "por xmm4, xmm0",
                "por xmm4, xmm2",
                "sub {begin}, 8",
                "jae 2b",
                "movhlps xmm0, xmm4",
                "por xmm0, xmm4",
                "movq {a}, xmm0",
                a = out(reg) differs,
                b = out(reg) _,
                begin = inout(reg) words - BLOCK => _,
                this = in(reg) core::ptr::from_ref(self),
                base = in(reg) base,
                offsets = const core::mem::offset_of!(Self, offsets),
                out("xmm0") _,
                out("xmm1") _,
                out("xmm2") _,
                out("xmm3") _,
                out("xmm4") _,
                options(nostack, readonly),
            );
        }
        differs == 0
    }

    /// How many of the first `words` words still have the values they had: the index of the first that has not, or
    /// `words`.
    ///
    /// # Safety
    ///
    /// As for [`StackWords::all_unchanged`], for any number of words.
    #[inline]
    pub(crate) unsafe fn unchanged(&self, base: u64, words: usize) -> usize {
        let mut begin = 0;
        // SAFETY: `begin + BLOCK` is at most `words`.
        while begin + BLOCK <= words && !unsafe { self.block_differs(base, begin) } {
            begin += BLOCK;
        }
        // SAFETY: the caller's.
        (begin..words).find(|&index| !unsafe { self.is_unchanged(base, index) }).unwrap_or(words)
    }

    /// [`StackWords::all_unchanged`], of any number of words.
    ///
    /// # Safety
    ///
    /// As there.
    #[inline(always)]
    pub(crate) unsafe fn are_unchanged(&self, base: u64, words: usize) -> bool {
        let blocks = words / BLOCK * BLOCK;
        // SAFETY: the caller's.
        unsafe {
            (blocks == 0 || self.all_unchanged(base, blocks))
                && (blocks..words).all(|index| self.is_unchanged(base, index))
        }
    }

    /// # Safety
    ///
    /// As for [`StackWords::all_unchanged`], for one word.
    #[inline(always)]
    unsafe fn is_unchanged(&self, base: u64, index: usize) -> bool {
        // SAFETY: the caller's.
        unsafe { stack_word(base + u64::from(self.offsets[index])) == self.values[index] }
    }

    /// # Safety
    ///
    /// As for [`StackWords::all_unchanged`], for the block that begins at `begin`.
    #[inline]
    unsafe fn block_differs(&self, base: u64, begin: usize) -> bool {
        let differs: u64;
        // SAFETY: loads what the caller vouches for.
        unsafe {
            core::arch::asm!(
                "mov {a}, qword ptr [{offsets} + 4*{begin}]",
                "mov {c}, qword ptr [{offsets} + 4*{begin} + 8]",
                "mov {b:e}, {a:e}",
                "shr {a}, 32",
                "mov {d:e}, {c:e}",
                "shr {c}, 32",
                "mov {b}, qword ptr [{base} + {b}]",
                "mov {a}, qword ptr [{base} + {a}]",
                "mov {d}, qword ptr [{base} + {d}]",
                "mov {c}, qword ptr [{base} + {c}]",
                "xor {b}, qword ptr [{values} + 8*{begin}]",
                "xor {a}, qword ptr [{values} + 8*{begin} + 8]",
                "xor {d}, qword ptr [{values} + 8*{begin} + 16]",
                "xor {c}, qword ptr [{values} + 8*{begin} + 24]",
                "or {a}, {b}",
                "or {c}, {d}",
                "or {a}, {c}",
                "mov {c}, qword ptr [{offsets} + 4*{begin} + 16]",
                "mov {e}, qword ptr [{offsets} + 4*{begin} + 24]",
                "mov {b:e}, {c:e}",
                "shr {c}, 32",
                "mov {d:e}, {e:e}",
                "shr {e}, 32",
                "mov {b}, qword ptr [{base} + {b}]",
                "mov {c}, qword ptr [{base} + {c}]",
                "mov {d}, qword ptr [{base} + {d}]",
                "mov {e}, qword ptr [{base} + {e}]",
                "xor {b}, qword ptr [{values} + 8*{begin} + 32]",
                "xor {c}, qword ptr [{values} + 8*{begin} + 40]",
                "xor {d}, qword ptr [{values} + 8*{begin} + 48]",
                "xor {e}, qword ptr [{values} + 8*{begin} + 56]",
                "or {b}, {c}",
                "or {d}, {e}",
                "or {a}, {b}",
                "or {a}, {d}",
                a = out(reg) differs,
                b = out(reg) _,
                c = out(reg) _,
                d = out(reg) _,
                e = out(reg) _,
                begin = in(reg) begin,
                offsets = in(reg) self.offsets.as_ptr(),
                values = in(reg) self.values.as_ptr(),
                base = in(reg) base,
                options(nostack, readonly),
            );
        }
        differs != 0
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_first_difference_is_found_at_every_place_of_every_length() {
        for words in 1..40_usize {
            let memory: Vec<u64> = (0..words as u64).map(|word| word * 3 + 1).collect();
            let base = memory.as_ptr().addr() as u64;
            let mut stack = StackWords { offsets: [0; 40], values: [0; 40] };
            for (index, &word) in memory.iter().enumerate() {
                stack.set(index, 8 * index as u64, word);
            }
            let filled = stack.fill_block(words);
            assert_eq!(filled, words.div_ceil(8) * 8);
            // SAFETY: the words are those of `memory`.
            assert_eq!(unsafe { (stack.unchanged(base, words), stack.all_unchanged(base, filled)) }, (words, true));
            // SAFETY: as above.
            assert!(unsafe { stack.are_unchanged(base, words) });
            for first in 0..words {
                let mut changed = StackWords { offsets: stack.offsets, values: stack.values };
                for index in (first..words).step_by(3) {
                    changed.values[index] ^= 1 << (first % 64);
                }
                changed.fill_block(words);
                // SAFETY: as above.
                let found = unsafe { (changed.unchanged(base, words), changed.all_unchanged(base, filled)) };
                assert_eq!(found, (first, false), "{first} of {words}");
                // SAFETY: as above.
                assert!(!unsafe { changed.are_unchanged(base, words) }, "{first} of {words}");
            }
        }
    }
}
