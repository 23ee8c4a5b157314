//! The highest that the heap was, whoever took it there, and who held it then.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Config, Peak, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const MIB: usize = 1 << 20;
const THREADS: usize = 4;
/// Far more than a thread may keep to itself, in blocks that are far less.
const THREAD_BYTES: usize = 8 * MIB;

#[inline(never)]
fn climb(bytes: usize, block_bytes: usize) -> Vec<Vec<u8>> {
    black_box((0..bytes / block_bytes).map(|_| Vec::with_capacity(block_bytes)).collect())
}

#[inline(never)]
fn churn() {
    for _ in 0..100_000 {
        drop(black_box(Vec::<u8>::with_capacity(black_box(1000))));
    }
}

fn program_live_bytes() -> i64 {
    let snapshot = heaptally::snapshot();
    let own = snapshot.function("(heaptally itself)").unwrap().counts().live_bytes();
    snapshot.totals().counts().live_bytes() - own
}

/// `expected` is what was live at the peak, but for what the harness and this file do beside.
fn assert_near(peak: &Peak, expected: i64) {
    let bytes = peak.bytes();
    let off = bytes.live_bytes.cast_signed() - expected;
    let slack = bytes.error_bytes.cast_signed() + 64 * 1024;
    assert!(off.abs() <= slack, "{off} bytes off {expected}, may be {slack}\n{peak}");
}

#[test]
fn the_peak_is_known_within_its_bound_and_so_are_its_rows() {
    let before = climb(3 * MIB, 5000);
    let tally = heaptally::start(Config::new().modules(["peak"])).unwrap();
    let base = program_live_bytes();
    assert!(base > 3 * MIB as i64);
    // Where nobody allocates meanwhile a snapshot is exact, and the peak is never below what it finds.
    let snapshot = quiet_snapshot().unwrap();
    let program = snapshot.totals().counts() - snapshot.function("(heaptally itself)").unwrap().counts();
    assert!(snapshot.peak().unwrap().live_bytes.cast_signed() >= program.live_bytes(), "{snapshot}");
    // What was there before is live and is the peak so far.
    assert_near(&tally.peak(), base);

    // All threads at once, and each back to nothing; small and large blocks.
    let barrier = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let barrier = &barrier;
            scope.spawn(move || {
                let held = climb(THREAD_BYTES, [40, 200, 3000, 70_000][number]);
                barrier.wait();
                // The rows are read.
                barrier.wait();
                drop(held);
                churn();
            });
        }
        barrier.wait();
        let held = program_live_bytes();
        assert!(held - base > (THREADS * THREAD_BYTES) as i64);
        let peak = tally.peak();
        assert_near(&peak, held);
        barrier.wait();
    });
    let after = program_live_bytes();
    assert!(after - base < 512 * 1024, "{after} {base}");

    // Heaptally's own blocks are no part of it, nor what is allocated and freed meanwhile.
    let own: Vec<_> = (0..20).map(|_| tally.snapshot()).collect();
    churn();
    drop((own, before));
    thread::sleep(Duration::from_millis(600));
    let peak = tally.peak();
    // The vectors' headers, 24 bytes a block, are in it too: of the small blocks, 0.6 of their bytes.
    let blocks: usize = [40, 200, 3000, 70_000].iter().map(|bytes| THREAD_BYTES / bytes).sum();
    let bytes: usize = [40, 200, 3000, 70_000].iter().map(|bytes| THREAD_BYTES / bytes * bytes).sum();
    assert_near(&peak, base + (bytes + 24 * blocks) as i64);
    assert_eq!(peak.snapshot().check(), Ok(()));
    let closeness = peak.closeness().unwrap();
    assert!((0.95..1.02).contains(&closeness), "{closeness}");
    let rows = peak.snapshot().by_function();
    let climbed = rows.iter().filter(|row| row.function().starts_with("peak::climb"));
    let climbed: i64 = climbed.map(|row| row.counts().live_bytes()).sum();
    assert!(climbed > (bytes * 9 / 10) as i64, "{peak}");
    assert_eq!(heaptally::snapshot().peak(), Some(peak.bytes()));
    assert!(peak.to_string().contains("captured at"), "{peak}");
}
