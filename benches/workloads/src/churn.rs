//! `churn`: random replacement of live blocks of many sizes, from several call sites.
//!
//! Stands for caches and collections: blocks live for a while, are freed in another order than allocated, and are no
//! longer in the processor's cache then.

use std::hint::black_box;

use crate::work::Work;
use crate::xorshift::Xorshift;

const LIVE_BLOCKS: usize = 10_000;
const REPLACEMENTS_A_LAP: usize = 40_000;

type Site = fn(usize) -> Vec<u8>;

pub(crate) struct Churn {
    blocks: Vec<Vec<u8>>,
}

impl Churn {
    /// The blocks come with `begin`, when tracking has started.
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::with_capacity(LIVE_BLOCKS) }
    }
}

impl Work for Churn {
    fn operation(&self) -> &'static str {
        "replacement"
    }

    fn operations_a_lap(&self) -> u64 {
        REPLACEMENTS_A_LAP as u64
    }

    fn lap(&mut self) -> u64 {
        // The same numbers in every lap, so that laps are equal; too many of them for a branch predictor to learn.
        let mut random = Xorshift::new(1);
        let mut sum = 0_u64;
        for _ in 0..REPLACEMENTS_A_LAP {
            let slot = random.below(LIVE_BLOCKS);
            let block = allocate(&mut random);
            sum = sum.wrapping_mul(31).wrapping_add((block.capacity() * usize::from(block[0])) as u64);
            let freed = std::mem::replace(&mut self.blocks[slot], block);
            sum = sum.wrapping_add(u64::from(freed[0]));
        }
        sum
    }

    fn begin(&mut self) {
        let mut random = Xorshift::new(2);
        self.blocks.extend((0..LIVE_BLOCKS).map(|_| allocate(&mut random)));
    }
}

fn allocate(random: &mut Xorshift) -> Vec<u8> {
    let site = SITES[random.below(SITES.len())];
    site(16 + random.below(1024 - 16 + 1))
}

const SITES: [Site; 16] = [
    site::<1>, site::<2>, site::<3>, site::<4>, site::<5>, site::<6>, site::<7>, site::<8>, site::<9>, site::<10>,
    site::<11>, site::<12>, site::<13>, site::<14>, site::<15>, site::<16>,
];

/// A call site of its own for every number, which is also in the code: equal functions would be merged.
#[inline(never)]
fn site<const NUMBER: u8>(bytes: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(bytes);
    // Only the first byte is written: the work is the allocator's, not memset's.
    block.push(NUMBER);
    black_box(block)
}
