//! The keyed 128-bit hash that stands for a stack.
//!
//! Computed in the hook, one step a frame, root first. 64 bits are not enough: with a million stacks two of them meet
//! with a chance of 1 in 37 million runs by luck alone, and peers that merge on 64 bits do so silently; 128 keyed
//! bits make it 1 in 10^26 and not constructible from outside.
//!
//! Two lanes of folded multiplication (the high half of a 64×64-bit product xored onto the low half, as in wyhash),
//! each with its own key.

use crate::ring::RecordedIp;
use crate::sync::{AtomicU64, Ordering};
use crate::sys;

/// The hash of a stack, or of its part from the root to some frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackHash {
    /// First lane.
    pub a: u64,
    /// Second lane.
    pub b: u64,
}

/// The process's key, set before the first stack is hashed.
pub struct HashKey {
    words: [AtomicU64; 2],
}

const MULTIPLIER_A: u64 = 0x9E37_79B9_7F4A_7C15;
const MULTIPLIER_B: u64 = 0xD6E8_FEB8_6659_FD93;

impl HashKey {
    /// The key before `randomize`.
    pub(crate) const fn new() -> Self {
        Self { words: [const { AtomicU64::new(0) }; 2] }
    }

    /// Takes the random bytes the kernel gave the process. Called once, by `start`, before tracking is on.
    pub fn randomize(&self) {
        for (word, random) in self.words.iter().zip(sys::process_random()) {
            // Relaxed: published with the mode, which is stored with Release after this.
            word.store(random, Ordering::Relaxed);
        }
    }

    /// The hash of no frames: of a whole stack, or of what is left of one that was cut.
    #[inline]
    pub fn root(&self, truncated: bool) -> StackHash {
        let cut = if truncated { MULTIPLIER_B } else { 0 };
        StackHash { a: self.words[0].load(Ordering::Relaxed) ^ cut, b: self.words[1].load(Ordering::Relaxed) }
    }
}

impl StackHash {
    /// The hash with one more frame, towards the leaf.
    #[inline(always)]
    pub fn push(self, ip: RecordedIp) -> Self {
        let word = ip.word();
        Self { a: fold(self.a ^ word, MULTIPLIER_A), b: fold(self.b.rotate_left(23) ^ word, MULTIPLIER_B) }
    }
}

#[inline(always)]
fn fold(value: u64, multiplier: u64) -> u64 {
    let product = u128::from(value) * u128::from(multiplier);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::HashSet;

    fn hash(key: &HashKey, root_first: &[usize]) -> StackHash {
        root_first.iter().fold(key.root(false), |hash, &ip| hash.push(RecordedIp::from(ip as u64)))
    }

    #[test]
    fn order_length_and_the_cut_all_count() {
        let key = HashKey::new();
        key.randomize();
        assert_ne!(hash(&key, &[0x1000, 0x2000]), hash(&key, &[0x2000, 0x1000]));
        assert_ne!(hash(&key, &[0x1000]), hash(&key, &[0x1000, 0x1000]));
        assert_ne!(key.root(false), key.root(true));
        let ip = RecordedIp { ip: 0x1000, generation: 0 };
        assert_ne!(key.root(false).push(ip), key.root(false).push(RecordedIp { generation: 1, ..ip }));
    }

    #[test]
    fn each_lane_alone_tells_a_hundred_thousand_similar_stacks_apart() {
        let key = HashKey::new();
        key.randomize();
        let mut lane_a = HashSet::new();
        let mut lane_b = HashSet::new();
        for call_site in 0..100_000_usize {
            let hash = hash(&key, &[0x5555_0000_1000, 0x5555_0000_2000 + call_site * 5, 0x5555_0000_3000]);
            lane_a.insert(hash.a);
            lane_b.insert(hash.b);
        }
        assert_eq!((lane_a.len(), lane_b.len()), (100_000, 100_000));
    }
}
