//! Threads that want the first tags of the same 256 MiB of addresses at once, while the system gives memory for them and
//! while it does not: one of them maps it, or none, and every block keeps its tag or is counted without.
#![cfg(not(heaptally_portable))]

#[path = "common/bump.rs"]
mod bump;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/placing.rs"]
mod placing;
#[path = "common/refusal.rs"]
mod refusal;

use std::alloc::{Layout, alloc, dealloc};
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use conserved::quiet_snapshot;
use heaptally::{Counts, SiteKind, TallyAlloc};
use placing::{Place, Placing};
use refusal::Refusal;

#[global_allocator]
static ALLOC: TallyAlloc<Placing> = TallyAlloc::new(Placing);

const THREADS: usize = 3;
const ROUNDS: usize = 200;
/// Of a thread in a round.
const BLOCKS: usize = 4;
const BYTES: usize = 1000;
/// What a region's tags take of address space.
const LEAF_BYTES: u64 = (8 << 20) + 4096;

fn layout() -> Layout {
    Layout::from_size_align(BYTES, 16).unwrap()
}

/// Threads that wait for each other, without a system call as long as they do so at once.
struct Gate(AtomicUsize);

impl Gate {
    fn pass(&self) {
        let passage = self.0.fetch_add(1, Ordering::SeqCst) / THREADS + 1;
        let mut spins = 0;
        while self.0.load(Ordering::SeqCst) < passage * THREADS {
            spins += 1;
            if spins % 1000 == 0 {
                thread::yield_now();
            }
            spin_loop();
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Memory {
    IsThere,
    /// One of the threads lets the system refuse it to all for its first blocks of a round.
    ComesAndGoes,
}

/// Rounds, each in a region of its own: every thread allocates there, and frees what its neighbour has allocated.
fn storm(memory: Memory) {
    let gate = Gate(AtomicUsize::new(0));
    let blocks: [[AtomicUsize; BLOCKS]; THREADS] = Default::default();
    let work = |number: usize| {
        placing::set(Place::Region);
        for round in 0..ROUNDS {
            if number == 0 {
                placing::begin_region();
            }
            gate.pass();
            let mut refusal = (memory == Memory::ComesAndGoes && round % THREADS == number).then(Refusal::begin);
            for (nth, block) in blocks[number].iter().enumerate() {
                if nth == BLOCKS / 2 {
                    refusal = None;
                }
                // SAFETY: not of size zero.
                block.store(black_box(unsafe { alloc(layout()) }).expose_provenance(), Ordering::Relaxed);
            }
            drop(refusal);
            gate.pass();
            for block in &blocks[(number + 1) % THREADS] {
                let block = std::ptr::with_exposed_provenance_mut(block.load(Ordering::Relaxed));
                // SAFETY: allocated with this layout by the neighbour, and freed once.
                unsafe { dealloc(block, layout()) };
            }
            gate.pass();
        }
        placing::set(Place::Arena);
    };
    thread::scope(|scope| (0..THREADS).for_each(|number| drop(scope.spawn(move || work(number)))));
}

#[test]
fn threads_that_need_the_same_tags_at_once_share_them() {
    storms();
    heaptally::start(heaptally::config!()).unwrap();
    let early = untagged_blocks();
    storms();
    let late = untagged_blocks() - early;
    println!("{early} blocks without a tag before the start, {late} afterwards");
    assert!(early > 0 && late > 0);
}

fn storms() {
    let mapped_bytes = || quiet_snapshot().unwrap().overhead().arena_mapped_bytes;
    let before = mapped_bytes();
    storm(Memory::IsThere);
    // One mapping a region: who came second has given its own back.
    let leaves_bytes = ROUNDS as u64 * LEAF_BYTES;
    let mapped_bytes = mapped_bytes() - before;
    assert!((leaves_bytes..leaves_bytes + LEAF_BYTES).contains(&mapped_bytes), "{mapped_bytes} for {leaves_bytes}");
    storm(Memory::ComesAndGoes);
}

/// How many there were so far, none of which is left.
fn untagged_blocks() -> u64 {
    let snapshot = quiet_snapshot().unwrap();
    let counts = snapshot.function(SiteKind::Untagged.label()).map_or(Counts::ZERO, |row| row.counts());
    assert_eq!((counts.live_blocks(), counts.live_bytes()), (0, 0));
    assert_eq!(snapshot.losses().unknown_frees.blocks, 0);
    counts.allocated_blocks
}
