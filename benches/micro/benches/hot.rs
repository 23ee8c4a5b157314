//! What runs in the allocator, on the thread that allocates.
//!
//! Captures are measured through the allocator, for nothing smaller can be called from outside; the same on System is
//! beside them, so that the difference is heaptally's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use divan::Bencher;
use heaptally::TallyAlloc;
use heaptally_capture::{Line, PROCESS, RecordedIp, StackHash};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    heaptally::start(heaptally::config!()).expect("heaptally starts");
    divan::main();
    let snapshot = heaptally::snapshot();
    snapshot.check().expect("conserved");
    // Whether the benches were what their names say: reused whole, joined after so many frames.
    eprintln!("{} stacks, captures: {:?}", snapshot.overhead().stacks, snapshot.captures());
}

fn pair(bytes: usize) {
    drop(black_box(Vec::<u8>::with_capacity(black_box(bytes))));
}

fn system_pair(bytes: usize) {
    let layout = Layout::from_size_align(black_box(bytes), 1).expect("a layout");
    // SAFETY: the size is not zero.
    let block = black_box(unsafe { System.alloc(layout) });
    // SAFETY: just allocated with this layout, unless it is null.
    unsafe { System.dealloc(block, layout) };
}

/// Runs it so many calls further down the stack.
#[inline(never)]
fn under(calls: usize, run: &mut dyn FnMut()) {
    if calls == 0 {
        run();
    } else {
        under(black_box(calls - 1), run);
        black_box(calls);
    }
}

/// A pair on a stack that does not change: the last trace is verified and used again.
#[divan::bench(args = [0, 25, 65, 121], sample_size = 1000)]
fn capture_unchanged(bencher: Bencher, calls: usize) {
    let mut bencher = Some(bencher);
    under(calls, &mut || bencher.take().expect("called once").bench_local(|| pair(64)));
}

/// Pairs in two branches in turn, each of so many frames under 30 that stay: the branch is unwound each time. Its calls
/// are in the time: `alternate_calls`.
#[divan::bench(args = [1, 2, 4, 8, 16, 32], sample_size = 1000)]
fn capture_alternating(bencher: Bencher, frames: usize) {
    alternating(bencher, frames, &mut || pair(64));
}

/// The same without a block.
#[divan::bench(args = [1, 32], sample_size = 1000)]
fn alternate_calls(bencher: Bencher, frames: usize) {
    alternating(bencher, frames, &mut || {
        black_box(64);
    });
}

fn alternating(bencher: Bencher, frames: usize, run: &mut dyn FnMut()) {
    let mut bencher = Some(bencher);
    under(30, &mut || {
        let mut right = false;
        bencher.take().expect("called once").bench_local(|| {
            right = !right;
            if right { in_right(frames, run) } else { in_left(frames, run) }
        });
    });
}

// Functions, for two calls of one function in two branches become one call.

#[inline(never)]
fn in_left(frames: usize, run: &mut dyn FnMut()) {
    under(frames - 1, run);
    black_box(1);
}

#[inline(never)]
fn in_right(frames: usize, run: &mut dyn FnMut()) {
    under(frames - 1, run);
    black_box(2);
}

/// A pair on a stack that nobody has seen: unwound, written into the ring, and entered in the table of stacks.
#[divan::bench(sample_count = 50, sample_size = 1000)]
fn new_stack(bencher: Bencher) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    bencher.bench_local(|| drop(micro::block_at(NEXT.fetch_add(1, Ordering::Relaxed))));
}

/// The same stack again and again: what its calls and the pair take of `new_stack`.
#[divan::bench(sample_count = 50, sample_size = 1000)]
fn known_stack(bencher: Bencher) {
    bencher.bench_local(|| drop(micro::block_at(black_box(7))));
}

/// Pairs of a size whose tag lies behind the block (64), and in the finer (512) and the coarser (8,192) page map.
#[divan::bench(args = [64, 512, 8192], sample_size = 1000)]
fn tag(bencher: Bencher, bytes: usize) {
    bencher.bench_local(|| pair(bytes));
}

#[divan::bench(args = [64, 512, 8192], sample_size = 1000)]
fn tag_system(bencher: Bencher, bytes: usize) {
    bencher.bench_local(|| system_pair(bytes));
}

/// A region of the thread begun and read.
#[divan::bench(sample_size = 1000)]
fn region(bencher: Bencher) {
    bencher.bench_local(|| heaptally::Region::new().change());
}

/// The same of the process.
#[divan::bench(sample_size = 100)]
fn process_region(bencher: Bencher) {
    bencher.bench_local(|| heaptally::ProcessRegion::new().change());
}

/// An allocation and a free counted on a line that one thread writes.
#[divan::bench(sample_size = 1000)]
fn counter_own(bencher: Bencher) {
    let line = Line::new();
    bencher.bench_local(|| {
        black_box(&line).count_allocated(black_box(64));
        black_box(&line).count_freed(black_box(64));
    });
}

/// The same on a line that any thread may write.
#[divan::bench(sample_size = 1000)]
fn counter_shared(bencher: Bencher) {
    let line = Line::new();
    bencher.bench_local(|| {
        black_box(&line).add_allocated(black_box(64));
        black_box(&line).add_freed(black_box(64));
    });
}

/// The hash of a stack of so many frames, from the root.
#[divan::bench(args = [1, 32], sample_size = 1000)]
fn hash(bencher: Bencher, frames: u64) {
    bencher.bench_local(|| hash_of(black_box(frames)));
}

/// A look into the table of stacks for one that is not there.
#[divan::bench(sample_size = 4096)]
fn stack_table_miss(bencher: Bencher) {
    let hashes: Vec<StackHash> = (0..4096).map(|number| hash_of(64 + number)).collect();
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % hashes.len();
        PROCESS.stacks.find(hashes[turn])
    });
}

fn hash_of(frames: u64) -> StackHash {
    let root = PROCESS.hash_key.root(false);
    (0..frames).fold(root, |hash, frame| hash.push(RecordedIp::from(0x5555_0000_0000 + 16 * frame)))
}
