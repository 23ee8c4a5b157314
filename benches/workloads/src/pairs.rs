//! `pairs33`, `pairs73`, `pairs2`: a block allocated and freed at once, in a loop at the bottom of a deep stack.
//!
//! The allocator's best case, so what a tracker adds is all there is to see. The depth is that of services: an
//! async runtime, a framework and a parser make 30 to 70 frames.

use std::hint::black_box;

use crate::work::Work;

/// Few enough that a lap of a subject a thousand times slower than the system's allocator takes a tenth of a second;
/// many enough that the calls down the stack and the clock do not count. A multiple of the number of sizes.
const PAIRS_A_LAP: usize = 4096;

pub(crate) struct Pairs {
    /// Calls of `under` below the first one.
    calls: usize,
}

impl Pairs {
    /// The frames of the thread's start, of the harness and of the loop: `tests/depth.rs` counts them.
    const OTHER_FRAMES: usize = 7;

    pub(crate) const UNDER_33: Self = Self { calls: 33 - Self::OTHER_FRAMES };
    pub(crate) const UNDER_73: Self = Self { calls: 73 - Self::OTHER_FRAMES };
}

impl Work for Pairs {
    fn operation(&self) -> &'static str {
        "pair"
    }

    fn operations_a_lap(&self) -> u64 {
        PAIRS_A_LAP as u64
    }

    fn lap(&mut self) -> u64 {
        under(self.calls)
    }
}

#[inline(never)]
fn under(calls: usize) -> u64 {
    if calls == 0 {
        return repeat();
    }
    // Something after the call, so that the frame stays.
    black_box(under(black_box(calls - 1)))
}

/// The driver's instruction counts are those of this function: it names it.
#[inline(never)]
fn repeat() -> u64 {
    let mut sum = 0;
    for pair in 0..PAIRS_A_LAP {
        let bytes = 32 + pair % 64;
        let block = black_box(Vec::<u8>::with_capacity(black_box(bytes)));
        sum += block.capacity() as u64;
    }
    sum
}
