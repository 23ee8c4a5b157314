//! What runs beside the program: reading the counters, snapshots, and what is made of them; of 10,000 stacks, each with
//! a live block. What a snapshot takes of fewer and of more is in `heaptally-bench -- costs`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use divan::Bencher;
use heaptally::{Rank, Snapshot, TallyAlloc};
use heaptally_capture::census;
use micro::Block;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const STACKS: u32 = 10_000;

static BLOCKS: LazyLock<Vec<Block>> = LazyLock::new(|| (0..STACKS).map(micro::block_at).collect());
/// The next stack that nobody has seen. Those of `BLOCKS` come before.
static NEXT: AtomicU32 = AtomicU32::new(STACKS);

fn main() {
    heaptally::start(heaptally::config!()).expect("heaptally starts");
    let snapshot = snapshot();
    snapshot.check().expect("conserved");
    assert!(snapshot.sites().len() >= STACKS as usize, "{} sites", snapshot.sites().len());
    divan::main();
    heaptally::snapshot().check().expect("conserved");
}

fn snapshot() -> Snapshot {
    LazyLock::force(&BLOCKS);
    heaptally::snapshot()
}

/// The sums of all threads, without rows.
#[divan::bench]
fn totals() -> heaptally::Totals {
    heaptally::totals()
}

/// The counters of all stacks, read as a snapshot does.
#[divan::bench]
fn counters() -> u64 {
    let mut bytes = 0;
    census::allocated_rows(|_, ([_, row_bytes], _)| bytes += row_bytes);
    bytes
}

/// With every symbol known.
#[divan::bench]
fn snapshot_again(bencher: Bencher) {
    bencher.bench_local(snapshot);
}

/// A snapshot with 1,000 stacks since the last one: drained from the ring, stored, and their functions found among those
/// known. Its name is the last, for divan goes by names, and the others are to have 10,000 stacks.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn with_1000_new_stacks(bencher: Bencher) {
    // Before the time.
    let new_stacks = || {
        let first = NEXT.fetch_add(1_000, Ordering::Relaxed);
        (first..first + 1_000).for_each(|number| drop(micro::block_at(number)));
    };
    bencher.with_inputs(new_stacks).bench_local_values(|()| heaptally::snapshot());
}

#[divan::bench]
fn check(bencher: Bencher) {
    let snapshot = snapshot();
    bencher.bench_local(|| snapshot.check());
}

#[divan::bench]
fn by_function(bencher: Bencher) {
    let snapshot = snapshot();
    bencher.bench_local(|| snapshot.by_function());
}

#[divan::bench]
fn top_10(bencher: Bencher) {
    let snapshot = snapshot();
    bencher.bench_local(|| snapshot.top(10, Rank::LiveBytes));
}

#[divan::bench]
fn since(bencher: Bencher) {
    let [earlier, later] = [snapshot(), snapshot()];
    bencher.bench_local(|| later.since(&earlier));
}

#[divan::bench]
fn table(bencher: Bencher) {
    let snapshot = snapshot();
    bencher.bench_local(|| snapshot.to_string());
}
