//! Reading words of the stack, one or many.
//!
//! The slots of other frames belong to variables of the program or to nobody, and the code around may write them: no
//! plain load of them is defined, and a volatile one only forbids the compiler to be clever. What `asm!` loads is the
//! word that is in memory.

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

/// How many of the first words still have the values they had: the index of the first that has not, or their number.
///
/// # Safety
///
/// All addresses are mapped, readable and multiples of eight.
#[inline(always)]
pub(crate) unsafe fn unchanged(addresses: &[u64], values: &[u64]) -> usize {
    let words = addresses.len().min(values.len());
    if words < BLOCK {
        // SAFETY: the caller's.
        return unsafe { unchanged_from(0, &addresses[..words], &values[..words]) };
    }
    let mut begin = 0;
    loop {
        // SAFETY: `begin + BLOCK` is at most `words`.
        let differ = unsafe { block_differs(addresses.as_ptr().add(begin), values.as_ptr().add(begin)) };
        if differ {
            // SAFETY: the caller's.
            return unsafe { unchanged_from(begin, &addresses[..words], &values[..words]) };
        }
        begin += BLOCK;
        if begin + BLOCK > words {
            if begin == words {
                return words;
            }
            // The last block overlaps the one before: a few words twice cost less than a branch each.
            begin = words - BLOCK;
        }
    }
}

/// Words that are compared without a branch between them.
const BLOCK: usize = 8;

/// # Safety
///
/// [`BLOCK`] addresses and values are there, and the addresses as in [`unchanged`].
#[inline(always)]
unsafe fn block_differs(addresses: *const u64, values: *const u64) -> bool {
    let differ: u64;
    // PERF: three loads a word and nothing else that counts; four chains, so that the loads are never waited for.
    // SAFETY: loads what the caller vouches for.
    unsafe {
        core::arch::asm!(
            "mov {a}, qword ptr [{addresses}]",
            "mov {b}, qword ptr [{addresses} + 8]",
            "mov {c}, qword ptr [{addresses} + 16]",
            "mov {d}, qword ptr [{addresses} + 24]",
            "mov {a}, qword ptr [{a}]",
            "mov {b}, qword ptr [{b}]",
            "mov {c}, qword ptr [{c}]",
            "mov {d}, qword ptr [{d}]",
            "xor {a}, qword ptr [{values}]",
            "xor {b}, qword ptr [{values} + 8]",
            "xor {c}, qword ptr [{values} + 16]",
            "xor {d}, qword ptr [{values} + 24]",
            "or {a}, {b}",
            "or {c}, {d}",
            "mov {b}, qword ptr [{addresses} + 32]",
            "mov {d}, qword ptr [{addresses} + 40]",
            "mov {b}, qword ptr [{b}]",
            "mov {d}, qword ptr [{d}]",
            "or {a}, {c}",
            "xor {b}, qword ptr [{values} + 32]",
            "xor {d}, qword ptr [{values} + 40]",
            "mov {c}, qword ptr [{addresses} + 48]",
            "mov {e}, qword ptr [{addresses} + 56]",
            "mov {c}, qword ptr [{c}]",
            "mov {e}, qword ptr [{e}]",
            "or {a}, {b}",
            "xor {c}, qword ptr [{values} + 48]",
            "xor {e}, qword ptr [{values} + 56]",
            "or {c}, {d}",
            "or {a}, {e}",
            "or {a}, {c}",
            a = out(reg) differ,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            e = out(reg) _,
            addresses = in(reg) addresses,
            values = in(reg) values,
            options(nostack, readonly),
        );
    }
    differ != 0
}

/// The same, word by word from `begin`.
///
/// # Safety
///
/// As for [`unchanged`].
#[inline(always)]
unsafe fn unchanged_from(begin: usize, addresses: &[u64], values: &[u64]) -> usize {
    let words = addresses.len();
    (begin..words)
        // SAFETY: the caller's.
        .find(|&word| unsafe { stack_word(addresses[word]) } != values[word])
        .unwrap_or(words)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_first_difference_is_found_at_every_place_of_every_length() {
        for words in 0..40_usize {
            let memory: Vec<u64> = (0..words as u64).map(|word| word * 3 + 1).collect();
            let addresses: Vec<u64> = memory.iter().map(|word| core::ptr::from_ref(word).addr() as u64).collect();
            // SAFETY: the addresses are those of `memory`.
            assert_eq!(unsafe { unchanged(&addresses, &memory) }, words);
            for changed in 0..words {
                let mut values = memory.clone();
                for value in values.iter_mut().skip(changed).step_by(3) {
                    *value ^= 1 << (changed % 64);
                }
                // SAFETY: as above.
                assert_eq!(unsafe { unchanged(&addresses, &values) }, changed, "of {words}");
            }
        }
    }
}
