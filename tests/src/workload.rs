//! Programs that put a heap to work. Each frees all that it has allocated before it returns, on whatever thread.
//!
//! They assert what they see themselves: alignment, zeroed bytes, bytes that survive. Counting is the caller's
//! affair.

use std::sync::mpsc;
use std::thread;

use crate::{Block, Random, Refused, layout_balance, refusing};

/// Threads of those that use several.
pub const THREADS: u64 = 8;
/// Blocks that a churning thread holds at most.
const SLOTS: usize = 64;
/// The largest block; the system's allocator maps those from 128 KiB on by themselves.
const MAX_BYTES: usize = 256 << 10;

/// One thread: allocates, zeroed or not, resizes and frees at random, and frees with the layouts it allocated with.
pub fn churn(seed: u64, operations: usize) {
    let before = layout_balance();
    churn_blocks(&mut Random::new(seed), operations);
    assert_eq!(layout_balance(), before, "a layout at a free was not that of the allocation");
}

fn churn_blocks(random: &mut Random, operations: usize) {
    let mut slots: [Option<Block>; SLOTS] = [const { None }; SLOTS];
    for _ in 0..operations {
        let slot = &mut slots[random.below(SLOTS)];
        let size = size(random);
        match (slot.as_mut(), random.below(4)) {
            (Some(_), 0) => *slot = None,
            (Some(block), 1 | 2) => block.resize(size).expect("memory"),
            (_, 3) => *slot = Some(Block::zeroed(size, align(random))),
            (_, _) => *slot = Some(Block::new(size, align(random))),
        }
    }
}

/// Mostly small, some of pages, a few larger than what the system's allocator keeps in its heap.
fn size(random: &mut Random) -> usize {
    let limit = match random.below(64) {
        0 => MAX_BYTES,
        1..=8 => 16 << 10,
        _ => 512,
    };
    1 + random.below(limit)
}

fn align(random: &mut Random) -> usize {
    1 << random.below(13)
}

/// Eight threads that churn at once.
pub fn threads_that_churn(operations: usize) {
    thread::scope(|scope| {
        for seed in 0..THREADS {
            scope.spawn(move || churn(seed, operations));
        }
    });
}

/// Eight threads, each of which frees the blocks of the one before it; some are freed when that one has ended.
pub fn blocks_freed_by_other_threads(blocks: usize) {
    let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel::<Block>()).unzip();
    // Each sends to the one that follows, the last to the first.
    senders.rotate_left(1);
    thread::scope(|scope| {
        for ((seed, next), mine) in (0..THREADS).zip(senders).zip(receivers) {
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..blocks {
                    next.send(Block::new(size(&mut random), align(&mut random))).expect("a receiver");
                    if random.below(2) == 0 {
                        drop(mine.try_recv());
                    }
                }
                drop(next);
                mine.into_iter().for_each(drop);
            });
        }
    });
}

/// `realloc` that grows and shrinks, in place and by moving, and that is refused.
pub fn resizes(rounds: usize) {
    let before = layout_balance();
    let (mut moved, mut stayed) = (0, 0);
    for round in 0..rounds {
        let align = 1 << (round % 13);
        let mut block = Block::new(24 + round % 7, align);
        // Behind it, so that it cannot grow where it is.
        let neighbour = Block::new(24, align);
        for size in [40, 200, 5000, 300 << 10, 100 << 10, 64, 1] {
            let at = block.address();
            block.resize(size).expect("memory");
            *(if block.address() == at { &mut stayed } else { &mut moved }) += 1;
            let as_it_was = (block.address(), block.size());
            assert_eq!(refusing(|| block.resize(size + 1)), Err(Refused));
            assert_eq!(refusing(|| block.resize(size.div_ceil(2))), Err(Refused));
            assert_eq!((block.address(), block.size()), as_it_was);
        }
        drop(neighbour);
    }
    // AddressSanitizer's allocator moves every block.
    assert!(moved > 0 && (stayed > 0 || cfg!(heaptally_asan)), "{moved} moved, {stayed} stayed");
    assert_eq!(layout_balance(), before, "a layout at a free was not that of the allocation");
}

/// `alloc_zeroed` over memory that was used before.
pub fn zeroed(rounds: usize) {
    for round in 0..rounds {
        let (size, align) = (1 + round * 37 % 4000, 1 << (round % 13));
        drop(Block::new(size, align));
        drop(Block::zeroed(size, align));
    }
}

/// So many threads, eight at a time, that hand one block to whoever waits for them and free one of theirs.
pub fn short_threads(threads: usize) {
    for _ in 0..threads / THREADS as usize {
        let running: Vec<_> = (0..THREADS as usize)
            .map(|index| {
                let given = Block::new(100 + index, 8);
                thread::spawn(move || {
                    let own = Block::new(200 + index, 16);
                    drop(given);
                    drop(own);
                    Block::new(300 + index, 32)
                })
            })
            .collect();
        for thread in running {
            drop(thread.join().expect("no panic"));
        }
    }
}
