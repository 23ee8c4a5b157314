//! Snapshots in a loop while eight threads storm: each of them adds up, as far as a moving heap can, and the last one
//! exactly.
#![cfg(not(heaptally_portable))]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use heaptally::TallyAlloc;
use heaptally_tests::{Block, Random, assert_conserved, stacks, sum_of_rows, workload};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const STORM: Duration = Duration::from_secs(2);
const SNAPSHOTS: u32 = 30;

#[test]
fn every_snapshot_taken_in_a_storm_adds_up() {
    heaptally::start(heaptally::config!()).expect("installed");
    let stop = AtomicBool::new(false);
    // The first one reads the debug information; those that follow come quickly.
    let mut last = heaptally::snapshot();
    let mut snapshots = 0;
    let begun = Instant::now();
    thread::scope(|scope| {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workload::THREADS).map(|_| mpsc::sync_channel(64)).unzip();
        for (seed, mine) in receivers.into_iter().enumerate() {
            let (senders, stop) = (senders.clone(), &stop);
            scope.spawn(move || storm(seed as u64, &senders, &mine, stop));
        }
        drop(senders);
        let _ending = StopsTheStorm(&stop);
        while begun.elapsed() < STORM || snapshots < SNAPSHOTS {
            let snapshot = heaptally::snapshot();
            if let Err(violation) = snapshot.check() {
                panic!("snapshot {snapshots}: {violation}");
            }
            let since = snapshot.totals() - last.totals();
            assert!(since.allocated_blocks <= i64::MAX as u64 && since.freed_blocks <= i64::MAX as u64, "{since:?}");
            last = snapshot;
            snapshots += 1;
        }
    });

    let quiet = assert_conserved("after the storm");
    assert_eq!(sum_of_rows(&quiet), quiet.totals().counts());
    assert!(quiet.losses().is_empty(), "{}", quiet.losses());
    println!("{snapshots} snapshots in {:?}\n{quiet}", begun.elapsed());
}

/// When dropped, also by a panic.
struct StopsTheStorm<'a>(&'a AtomicBool);

impl Drop for StopsTheStorm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Random sizes from a thousand stacks, kept, sent to others, resized, freed; and now and then a thread that does
/// some of that and ends.
fn storm(seed: u64, senders: &[mpsc::SyncSender<Block>], mine: &mpsc::Receiver<Block>, stop: &AtomicBool) {
    let mut random = Random::new(seed);
    let mut kept = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut block = None;
        let size = 1 + random.below(2000);
        stacks::at(random.below(1000), 3, &mut || block = Some(Block::new(size, 1 << (size % 8))));
        let mut block = block.expect("the leaf was reached");
        match random.below(8) {
            0 => kept.push(block),
            1 => block.resize(1 + random.below(5000)).expect("memory"),
            2 => drop(kept.pop()),
            // A full channel gives it back, and it is freed here.
            3 | 4 => drop(senders[random.below(senders.len())].try_send(block)),
            5 => drop(mine.try_iter().take(4).collect::<Vec<_>>()),
            6 if random.below(16) == 0 => {
                let thread = thread::spawn(move || (block, Block::zeroed(size, 8)).1);
                kept.extend(thread.join());
            }
            _ => {}
        }
    }
}
