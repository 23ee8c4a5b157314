//! Random numbers that cost next to nothing and are the same in every process.

pub(crate) struct Xorshift(u64);

impl Xorshift {
    /// `seed` is not zero.
    pub(crate) fn new(seed: u64) -> Self {
        // Small seeds have few bits set, and so would the first numbers.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number from 0 to `limit - 1`; `limit` is small.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * limit as u64) >> 32) as usize
    }
}
