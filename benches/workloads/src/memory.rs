//! The measurement of memory: resident bytes after some blocks were made, minus those before.
//!
//! Both are read on the measured thread, next to each other, with the blocks' call stack already known to a tracker and
//! the list of the blocks already written. So what a tracker costs once is in neither; what it takes for itself in
//! between is in the difference, and the report names it.

use std::fmt;
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use crate::block::Block;
use crate::load::Load;
use crate::metric::Metric;
use crate::report::Report;
use crate::resident::resident_bytes;

/// Blocks that are made before and stay: the call stack is known then and has its counters, and the allocator has begun
/// its first pages.
const WARM_UP_BLOCKS: usize = 64;

/// What was measured, and what the tracker held for itself (its blocks' tags left out) before and after.
pub(crate) struct Weighed {
    report: Report,
    own_bytes: [u64; 2],
}

impl fmt::Display for Weighed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = self.own_bytes;
        write!(f, "{} own_before={before} own_after={after}", self.report)
    }
}

/// # Panics
///
/// If the measured thread does.
pub(crate) fn weigh(load: &Load, own_bytes: fn() -> u64) -> Result<Weighed, String> {
    let turn = Barrier::new(2);
    thread::scope(|scope| {
        let measured = scope.spawn(|| measure(load, &turn));
        // On this thread, so that asking leaves no free memory behind for the blocks.
        let own_bytes = [(); 2].map(|()| {
            turn.wait();
            let bytes = own_bytes();
            turn.wait();
            bytes
        });
        let (resident, requested_bytes) = measured.join().expect("the measured thread");
        let [before, after] = resident.map(|bytes| bytes.map(|bytes| bytes as f64));
        let report = Report {
            workload: "memory".to_owned(),
            metrics: vec![Metric::lower("resident", "bytes/block", (after? - before?) / load.blocks as f64)],
            operations: load.blocks as u64,
            checksum: requested_bytes,
        };
        Ok(Weighed { report, own_bytes })
    })
}

type Resident = Result<u64, String>;

/// Resident bytes before and after, and the bytes requested. The blocks are freed when the tracker has told what it
/// holds.
fn measure(load: &Load, turn: &Barrier) -> ([Resident; 2], u64) {
    let mut slots: Vec<Option<Block>> = (0..WARM_UP_BLOCKS + load.blocks).map(|_| None).collect();
    let (first, rest) = slots.split_at_mut(WARM_UP_BLOCKS);
    let mut result = ([const { Ok(0) }; 2], 0);
    // Both from one call site, which the compiler would double if it knew how many there are. The last pass counts.
    for slots in black_box(vec![first, rest]) {
        let before = resident_bytes();
        let requested_bytes = load.fill(slots);
        result = ([before, resident_bytes()], requested_bytes);
        turn.wait();
        turn.wait();
    }
    result
}
