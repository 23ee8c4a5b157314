//! The thread that does what heaptally's aggregator does with the hook's data: starts tracking, drains rings, lets the time go
//! on, reads all counters, pauses and resumes.
//!
//! Each reading is held to what `docs/memory-ordering.md` promises of it, while all others count.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use heaptally_capture::{Mode, PROCESS, Reuse, StackId, Tick, census};

use crate::Fault;
use crate::threads::{self, Running};

static IS_OVER: AtomicBool = AtomicBool::new(false);

/// What it has seen in the end, at rest.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) totals: [u64; 4],
    pub(crate) rows: [u64; 4],
    pub(crate) readings: u64,
    pub(crate) records: usize,
    pub(crate) issued: u32,
    pub(crate) states: usize,
    pub(crate) pages: usize,
    known: HashSet<StackId>,
    fault: Fault,
}

/// See the module's head.
pub(crate) struct Aggregator(Running<Seen>);

impl Aggregator {
    /// Begins.
    pub(crate) fn spawn(fault: Fault) -> Self {
        Self(threads::spawn(move || {
            // Threads begin meanwhile, and count as before the start.
            thread::sleep(Duration::from_millis(5));
            start();
            let mut seen = Seen { fault, ..Seen::default() };
            while !IS_OVER.load(Ordering::Acquire) {
                seen.read();
                PROCESS.doorbell.wait(Duration::from_millis(1));
            }
            seen.read();
            seen
        }))
    }

    /// Reads once more, when nobody else counts, and ends.
    pub(crate) fn finish(self) -> Seen {
        IS_OVER.store(true, Ordering::Release);
        PROCESS.doorbell.ring();
        self.0.join()
    }
}

/// As in `crates/heaptally/src/engine/mod.rs`.
fn start() {
    PROCESS.unwinder.prepare();
    PROCESS.unwinder.set_reuse(Reuse::On);
    PROCESS.tick.advance(Tick::FIRST);
    PROCESS.peak.begin();
    PROCESS.hash_key.randomize();
    PROCESS.max_depth.store(64, Ordering::Relaxed);
    PROCESS.ring_limit_bytes.store(1 << 20, Ordering::Relaxed);
    PROCESS.segments.set_limit_bytes(8 << 20);
    PROCESS.stacks.set_limits(100_000, 10_000);
    PROCESS.arena.set_limit_bytes(usize::MAX);
    PROCESS.pages.set_limit_bytes(64 << 20);
    PROCESS.mode.set(Mode::On);
    PROCESS.registry.open_gates();
}

impl Seen {
    /// What must hold of every reading. With a fault the report is what is waited for.
    fn hold(&self, is_so: bool, what: &str) {
        assert!(is_so || self.fault != Fault::Nothing, "{what}");
    }

    fn read(&mut self) {
        self.readings += 1;
        match self.readings % 16 {
            8 => set_mode(Mode::Paused),
            11 => set_mode(Mode::On),
            _ => {}
        }
        PROCESS.tick.advance(Tick::new(self.readings / 4 + 2));
        PROCESS.peak.set_before_start(census::before_start_bytes(), &PROCESS.doorbell);
        PROCESS.peak.ring_at(PROCESS.peak.live_bytes() + 100_000);

        let (mut older, mut freed, mut allocated) = (0, [0; 2], [0; 2]);
        let mut named = HashSet::new();
        census::older_ages(|_, blocks| older += blocks.iter().sum::<u64>());
        census::freed_rows(|_, (words, _, temporaries)| {
            self.hold(temporaries <= words[0], "no more temporaries than frees");
            freed = [freed[0] + words[0], freed[1] + words[1]];
        });
        census::allocated_rows(|id, (words, _)| {
            allocated = [allocated[0] + words[0], allocated[1] + words[1]];
            if words[0] > 0 && id >= StackId::FIRST_REAL {
                named.insert(id);
            }
        });
        let mut of_threads = [0; 4];
        let others = census::threads(|row| of_threads = std::array::from_fn(|word| of_threads[word] + row.words[word]));
        of_threads = std::array::from_fn(|word| of_threads[word] + others[word]);
        let totals = census::totals();
        let rows = [allocated[0], allocated[1], freed[0], freed[1]];
        self.hold(older <= freed[0] && freed[0] <= allocated[0] && freed[1] <= allocated[1], "no row is negative");
        for sums in [rows, of_threads] {
            self.hold(sums.iter().zip(totals).all(|(&sum, total)| sum <= total), "no sum is above the totals");
        }
        let _ = (census::program(), census::in_flight());

        census::drain(|record| {
            self.hold(record.ips().len() > 0 && record.ips().all(|ip| ip != 0), "records are whole");
            self.hold(
                record.base.is_none_or(|base| self.known.contains(&base.id)),
                "a base comes before what is upon it",
            );
            self.known.insert(record.id);
            self.records += 1;
        });
        self.hold(named.is_subset(&self.known), "every id that was counted has its record");
        (self.totals, self.rows) = (totals, rows);
        self.issued = PROCESS.stacks.issued() - StackId::FIRST_REAL.index() as u32;
        self.states = PROCESS.registry.states();
        self.pages = PROCESS.pages.used_bytes();
    }
}

/// As `pause` and `resume` do.
fn set_mode(mode: Mode) {
    PROCESS.mode.set(mode);
    PROCESS.registry.open_gates();
}
