//! `measure` counts what one thread allocates and frees, to the byte, started or not.
#![cfg(not(heaptally_portable))]

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::cell::Cell;
use std::hint::black_box;
use std::thread;

use heaptally::{Config, Counts, TallyAlloc, measure};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const fn counts(allocated_blocks: u64, allocated_bytes: u64, freed_blocks: u64, freed_bytes: u64) -> Counts {
    Counts { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes }
}

/// A block of `bytes` that the optimizer cannot remove.
fn block(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(bytes)))
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

#[test]
fn every_operation_counts_what_the_program_asked_for_before_and_after_start() {
    operations_count_what_was_asked_for();
    heaptally::start(Config::new().modules(["measure"])).unwrap();
    operations_count_what_was_asked_for();
    heaptally::tally().unwrap().pause();
    operations_count_what_was_asked_for();
    heaptally::tally().unwrap().resume();
    assert_eq!(heaptally::snapshot().check(), Ok(()));
}

fn operations_count_what_was_asked_for() {
    nothing_is_nothing();
    a_block_kept_and_a_block_dropped();
    realloc_is_a_free_and_an_allocation();
    zeroed_blocks_count_like_others();
    layouts_of_every_alignment_count_their_size();
    an_inner_measure_is_part_of_the_outer_one();
    other_threads_are_not_counted();
    a_block_of_another_thread_counts_where_it_is_freed();
    a_thread_that_never_allocated_can_measure();
    a_thread_local_destructor_can_measure();
    a_panic_passes_through();
}

fn nothing_is_nothing() {
    assert_eq!(measure(|| 7), (7, Counts::ZERO));
}

fn a_block_kept_and_a_block_dropped() {
    let (kept, counted) = measure(|| {
        drop(block(100));
        block(28)
    });
    assert_eq!(counted, counts(2, 128, 1, 100));
    assert_eq!(measure(|| drop(kept)).1, counts(0, 0, 1, 28));
}

fn realloc_is_a_free_and_an_allocation() {
    let ((), counted) = measure(|| {
        // SAFETY: layouts are not of size zero, each block is used with the one it has, and freed once.
        unsafe {
            let first = alloc(layout(16));
            let grown = realloc(first, layout(16), 5000);
            let shrunk = realloc(grown, layout(5000), 40);
            if shrunk.is_null() {
                handle_alloc_error(layout(40));
            }
            dealloc(shrunk, layout(40));
        }
    });
    // Allocated 16 + 5,000 + 40, freed the same.
    assert_eq!(counted, counts(3, 5056, 3, 5056));
    // A vector that doubles from 64 to 128: one block more, one block gone.
    let ((), counted) = measure(|| {
        let mut bytes = block(64);
        bytes.extend_from_slice(&[0; 64]);
        bytes.push(1);
        assert_eq!(bytes.capacity(), 128);
        drop(black_box(bytes));
    });
    assert_eq!(counted, counts(2, 192, 2, 192));
}

fn zeroed_blocks_count_like_others() {
    let ((), counted) = measure(|| {
        // SAFETY: as above; the bytes read are the block's.
        unsafe {
            let block = alloc_zeroed(layout(1 << 20));
            assert_eq!((*block, *block.add((1 << 20) - 1)), (0, 0));
            let grown = realloc(block, layout(1 << 20), 2 << 20);
            assert_eq!(*grown.add((1 << 20) - 1), 0);
            dealloc(grown, layout(2 << 20));
        }
        drop(black_box(vec![0_u8; black_box(300)]));
    });
    // 1,048,576 + 2,097,152 + 300.
    assert_eq!(counted, counts(3, 3_146_028, 3, 3_146_028));
}

fn layouts_of_every_alignment_count_their_size() {
    let ((), counted) = measure(|| {
        for align in (0..=12).map(|power| 1 << power) {
            let layout = Layout::from_size_align(33, align).unwrap();
            // SAFETY: as above.
            unsafe {
                let block = alloc(layout);
                assert_eq!(block.addr() % align, 0);
                dealloc(block, layout);
            }
        }
    });
    // Thirteen alignments of 33 bytes.
    assert_eq!(counted, counts(13, 429, 13, 429));
}

fn an_inner_measure_is_part_of_the_outer_one() {
    let ((inner, kept), outer) = measure(|| {
        let first = block(10);
        let (second, inner) = measure(|| block(20));
        drop(first);
        (inner, second)
    });
    assert_eq!(inner, counts(1, 20, 0, 0));
    assert_eq!(outer, counts(2, 30, 1, 10));
    drop(kept);
}

fn other_threads_are_not_counted() {
    thread::scope(|scope| {
        let other = scope.spawn(|| measure(|| (0..1000).map(|_| block(7)).map(drop).count()));
        let ((), here) = measure(|| drop(block(3)));
        assert_eq!(here, counts(1, 3, 1, 3));
        assert_eq!(other.join().unwrap(), (1000, counts(1000, 7000, 1000, 7000)));
    });
}

fn a_block_of_another_thread_counts_where_it_is_freed() {
    let foreign = thread::spawn(|| block(77)).join().unwrap();
    assert_eq!(measure(|| drop(foreign)).1, counts(0, 0, 1, 77));
}

fn a_thread_that_never_allocated_can_measure() {
    // Made by libc alone: std's own threads allocate before they run anything.
    extern "C" fn body(out: *mut libc::c_void) -> *mut libc::c_void {
        let (kept, counted) = measure(|| block(50));
        let ((), freed) = measure(|| drop(kept));
        // SAFETY: the caller's two counts, which it reads after the thread has ended.
        unsafe { out.cast::<[Counts; 2]>().write([counted, freed]) };
        std::ptr::null_mut()
    }
    let mut counted = [Counts::ZERO; 2];
    // SAFETY: the thread is joined before `counted` goes out of scope.
    unsafe {
        let mut thread = 0;
        assert_eq!(libc::pthread_create(&mut thread, std::ptr::null(), body, (&raw mut counted).cast()), 0);
        assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
    }
    assert_eq!(counted, [counts(1, 50, 0, 0), counts(0, 0, 1, 50)]);
}

fn a_thread_local_destructor_can_measure() {
    struct AtExit(Cell<Option<std::sync::mpsc::Sender<Counts>>>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            let ((), counted) = measure(|| drop(block(60)));
            self.0.take().unwrap().send(counted).unwrap();
        }
    }
    thread_local!(static AT_EXIT: AtExit = const { AtExit(Cell::new(None)) });
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || AT_EXIT.with(|at_exit| at_exit.0.set(Some(sender)))).join().unwrap();
    assert_eq!(receiver.recv(), Ok(counts(1, 60, 1, 60)));
}

fn a_panic_passes_through() {
    let caught = std::panic::catch_unwind(|| measure(|| std::panic::resume_unwind(Box::new(5_u8))));
    assert_eq!(caught.unwrap_err().downcast_ref::<u8>(), Some(&5));
    assert_eq!(measure(|| drop(block(9))).1, counts(1, 9, 1, 9));
}
