//! Live blocks, each allocated on a stack of its own.

use std::hint::black_box;

type Block = Box<[u8; 32]>;

/// The stacks differ in their paths of left and right, which are so long that there is one for each block.
pub(crate) fn blocks(stacks: usize) -> Vec<Block> {
    let mut blocks = Vec::with_capacity(stacks);
    let levels = stacks.next_power_of_two().ilog2();
    descend(levels, stacks, &mut blocks);
    blocks
}

#[inline(never)]
fn descend(levels: u32, stacks: usize, blocks: &mut Vec<Block>) {
    if blocks.len() == stacks {
        return;
    }
    if levels == 0 {
        blocks.push(black_box(Box::new([1; 32])));
        return;
    }
    // Something after each call, so that its frame stays; other things, or they could be one call in a loop.
    descend(levels - 1, stacks, blocks);
    black_box(1);
    descend(levels - 1, stacks, blocks);
    black_box(2);
}
