//! Blocks that the optimizer cannot delete.
//!
//! Outside the configured modules and always inlined, so that what these allocate is charged to their callers.

use std::hint::black_box;

/// Keeps a value for good, through a pointer that escapes.
#[inline(always)]
pub(crate) fn keep<T>(value: T) {
    std::mem::forget(black_box(value));
}

/// Keeps `blocks` blocks of `BYTES` bytes each for good.
#[inline(always)]
pub(crate) fn keep_blocks<const BYTES: usize>(blocks: usize) {
    for _ in 0..black_box(blocks) {
        keep(block::<BYTES>());
    }
}

/// One block of `BYTES` bytes.
#[inline(always)]
pub(crate) fn block<const BYTES: usize>() -> Box<[u8; BYTES]> {
    black_box(Box::new([1; BYTES]))
}
