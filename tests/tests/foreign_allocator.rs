//! Around an allocator that believes what it is told: sizes at a free, zeros it was asked for, failures it reports.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/size_classes.rs"]
mod size_classes;

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::thread;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, TallyAlloc};
use size_classes::{FAILING, SizeClasses, WRONG_CLASS, calls};

#[global_allocator]
static ALLOC: TallyAlloc<SizeClasses> = TallyAlloc::new(SizeClasses);

fn layout(bytes: usize, align: usize) -> Layout {
    Layout::from_size_align(bytes, align).unwrap()
}

#[test]
fn an_allocator_that_uses_sizes_and_alignments_is_told_the_same_ones_at_both_ends() {
    blocks_of_all_classes_come_and_go();
    heaptally::start(Config::new().modules(["foreign_allocator"]).max_depth(1)).unwrap();
    quiet_snapshot().unwrap();
    blocks_of_all_classes_come_and_go();
    threads_hand_blocks_to_each_other();
    a_failure_changes_nothing();
    each_method_reaches_the_inner_one_of_its_name();
    assert_eq!(WRONG_CLASS.load(Ordering::Relaxed), 0);

    let snapshot = quiet_snapshot().unwrap();
    // Stacks of one frame, which is the standard library's as often as not: each was cut, and says so.
    assert!(snapshot.losses().truncated_stacks > 0);
    assert_eq!(snapshot.losses().unknown_frees.blocks, 0);
}

fn blocks_of_all_classes_come_and_go() {
    let ((), counted) = heaptally::measure(|| {
        for power in 0..=17 {
            for bytes in [(1 << power) - 1, 1 << power, (1 << power) + 1].into_iter().filter(|&bytes| bytes != 0) {
                for align in [1, 16, 4096] {
                    blocks_keep_their_bytes(bytes, align);
                }
            }
        }
    });
    // Powers 0 to 17 and their neighbours, without the zero below the first: 53 sizes that add up to 3 · 262,143,
    // three alignments, three allocations each, of which the second is twice as large and the third is the first
    // again.
    let (blocks, bytes) = (53 * 3 * 3, 4 * 3 * 3 * 262_143);
    assert_eq!(
        counted,
        Counts { allocated_blocks: blocks, allocated_bytes: bytes, freed_blocks: blocks, freed_bytes: bytes }
    );
}

/// Zeroed, grown to twice the size, shrunk again, freed.
fn blocks_keep_their_bytes(bytes: usize, align: usize) {
    let (small, large) = (layout(bytes, align), layout(2 * bytes, align));
    // SAFETY: layouts are not of size zero, each block is used with the one it has, and freed once.
    unsafe {
        let block = ALLOC.alloc_zeroed(small);
        assert!(block.addr().is_multiple_of(align) && (0..bytes).all(|at| *block.add(at) == 0));
        block.write_bytes(0xA5, bytes);
        let block = ALLOC.realloc(block, small, 2 * bytes);
        assert!(block.addr().is_multiple_of(align) && (0..bytes).all(|at| *block.add(at) == 0xA5));
        block.add(bytes).write_bytes(0x5A, bytes);
        let block = ALLOC.realloc(block, large, bytes);
        assert!(block.addr().is_multiple_of(align) && (0..bytes).all(|at| *block.add(at) == 0xA5));
        ALLOC.dealloc(block, small);
    }
}

fn threads_hand_blocks_to_each_other() {
    let (sender, blocks) = std::sync::mpsc::channel::<Vec<u8>>();
    thread::scope(|scope| {
        for thread in 1..=4 {
            let sender = sender.clone();
            scope.spawn(move || (0..500).for_each(|n| sender.send(vec![1; thread * 100 + n]).unwrap()));
        }
        drop(sender);
        assert_eq!(
            blocks.into_iter().map(|block| block.iter().map(|&one| u64::from(one)).sum::<u64>()).sum::<u64>(),
            // 500 blocks each of 100, 200, 300 and 400 bytes, and 0 + 1 + … + 499 bytes more in each thread.
            500 * 1000 + 4 * 124_750
        );
    });
}

fn a_failure_changes_nothing() {
    // SAFETY: as above.
    unsafe {
        let block = ALLOC.alloc(layout(100, 8));
        let ((), counted) = heaptally::measure(|| {
            FAILING.store(true, Ordering::SeqCst);
            let refused = [
                ALLOC.alloc(layout(10, 8)),
                ALLOC.alloc_zeroed(layout(10, 8)),
                ALLOC.realloc(block, layout(100, 8), 200),
            ];
            FAILING.store(false, Ordering::SeqCst);
            assert!(refused.iter().all(|block| block.is_null()));
        });
        assert_eq!(counted, Counts::ZERO);
        // The block is what it was: its tag still names its stack.
        let ((), counted) = heaptally::measure(|| ALLOC.dealloc(block, layout(100, 8)));
        assert_eq!(counted, Counts { freed_blocks: 1, freed_bytes: 100, ..Counts::ZERO });
    }
}

fn each_method_reaches_the_inner_one_of_its_name() {
    let before = calls();
    // SAFETY: as above.
    unsafe {
        let block = black_box(ALLOC.alloc(layout(10, 8)));
        let zeroed = black_box(ALLOC.alloc_zeroed(layout(10, 8)));
        let block = black_box(ALLOC.realloc(block, layout(10, 8), 20));
        ALLOC.dealloc(block, layout(20, 8));
        ALLOC.dealloc(zeroed, layout(10, 8));
    }
    let after = calls();
    let made: [u64; 4] = std::array::from_fn(|method| after[method] - before[method]);
    assert_eq!(made, [1, 1, 1, 2]);
}
