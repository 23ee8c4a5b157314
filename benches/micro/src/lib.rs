//! Micro-benchmarks of heaptally's parts: in `benches/`, one program for what runs in the allocator and one for what
//! runs beside it.
//!
//! Here is what both need: blocks on stacks that nobody has seen before.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::hint::black_box;

/// A block to be kept or freed.
pub type Block = Box<[u8; 32]>;

/// More than any run makes stacks.
const LEVELS: u32 = 24;

/// Allocates a block at the end of the path that the number's bits spell, left or right: another number has another
/// stack.
#[inline(never)]
pub fn block_at(number: u32) -> Block {
    descend(LEVELS, number)
}

#[inline(never)]
fn descend(levels: u32, number: u32) -> Block {
    if levels == 0 {
        return black_box(Box::new([1; 32]));
    }
    if number >> (levels - 1) & 1 == 0 { left(levels - 1, number) } else { right(levels - 1, number) }
}

// Functions, for two calls of one function in two branches become one call.

#[inline(never)]
fn left(levels: u32, number: u32) -> Block {
    let block = descend(levels, number);
    // Something after the call, so that the frame stays; another thing than on the right, so that it is another.
    black_box(1);
    block
}

#[inline(never)]
fn right(levels: u32, number: u32) -> Block {
    let block = descend(levels, number);
    black_box(2);
    block
}
