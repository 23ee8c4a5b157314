//! The counters of all stacks, read once, in the order that keeps them true.
//!
//! Run by the aggregator. Allocates only between readings, never while the counters are read: its own allocations
//! would move the totals that tell a quiet point from a busy one.

use std::ops::AddAssign;

use heaptally_capture::{OLDER_AGES, PROCESS, StackId, census};
use heaptally_profile::{AGES, Counts, Lifetimes, TickNumber, Totals};

use super::threads::Threads;

/// Ids that may be issued while the counters are read, before the buffer must grow.
const SLACK: usize = 4096;

// The ages that blocks may have beside none.
const _: () = assert!(OLDER_AGES + 1 == AGES);

/// What was read of one stack, or one pseudo-row.
#[derive(Clone, Copy, Default)]
pub(crate) struct ReadRow {
    pub(crate) counts: Counts,
    pub(crate) lifetimes: Lifetimes,
}

impl AddAssign for ReadRow {
    fn add_assign(&mut self, other: Self) {
        self.counts += other.counts;
        self.lifetimes += other.lifetimes;
    }
}

/// A reading, by stack id. Kept between snapshots for its memory.
#[derive(Default)]
pub(crate) struct Reading {
    /// By stack id, pseudo-rows first.
    pub(crate) rows: Vec<ReadRow>,
    /// Counts of each thread. Read after the rows, too.
    pub(crate) threads: Threads,
    /// The last row for which there was no memory.
    refused: Option<ReadRow>,
    /// Read after the rows.
    pub(crate) totals: Totals,
    /// When.
    pub(crate) tick: TickNumber,
    /// Read before the rows; `None` when a thread was in the middle of counting.
    pub(crate) totals_before: Option<Totals>,
}

/// The counters could not be read: the inner allocator has no memory for a row of each stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoMemory;

impl Reading {
    /// Takes the memory that reading takes now. To be asked first: without it nothing else of a snapshot is begun.
    pub(crate) fn make_room(&mut self) -> Result<(), NoMemory> {
        self.refused = None;
        self.threads.make_room()?;
        self.rows.clear();
        self.grow(PROCESS.stacks.issued() as usize + SLACK)
    }

    /// Reads everything anew.
    pub(crate) fn read(&mut self) -> Result<(), NoMemory> {
        self.make_room()?;
        let before = totals();
        let in_flight = census::in_flight();
        // Freed before allocated, rows before totals: see `census`.
        census::older_ages(|id, ages| {
            let [_, older @ ..] = &mut self.row(id).lifetimes.freed_by_age;
            *older = ages;
        });
        census::freed_rows(|id, ([blocks, bytes], births, temporaries)| {
            let ReadRow { counts, lifetimes } = self.row(id);
            counts.freed_blocks = counts.freed_blocks.wrapping_add(blocks);
            counts.freed_bytes = counts.freed_bytes.wrapping_add(bytes);
            lifetimes.freed_births = lifetimes.freed_births.wrapping_add(births);
            lifetimes.temporaries += temporaries;
        });
        census::allocated_rows(|id, ([blocks, bytes], births)| {
            let ReadRow { counts, lifetimes } = self.row(id);
            counts.allocated_blocks = counts.allocated_blocks.wrapping_add(blocks);
            counts.allocated_bytes = counts.allocated_bytes.wrapping_add(bytes);
            lifetimes.allocated_births = lifetimes.allocated_births.wrapping_add(births);
        });
        for ReadRow { counts, lifetimes } in &mut self.rows {
            let [at_once, older @ ..] = &mut lifetimes.freed_by_age;
            *at_once = counts.freed_blocks - older.iter().sum::<u64>();
        }
        self.threads.read();
        self.tick = TickNumber::new(PROCESS.tick.get().number());
        self.totals = totals();
        self.totals_before = (!in_flight).then_some(before);
        if census::is_correction_due() && self.refused.is_none() && self.totals_before == Some(self.totals) {
            self.correct();
        }
        if self.refused.is_some() {
            return Err(NoMemory);
        }
        // Exact, and so nearer than what threads have told, which in a small program is nothing.
        if self.totals_before == Some(self.totals) {
            PROCESS.peak.rise_to(self.program_live_bytes(), &PROCESS.doorbell);
        }
        Ok(())
    }

    /// The rows that are not empty.
    pub(crate) fn with_counts(&self) -> impl Iterator<Item = (StackId, ReadRow)> + Clone {
        let rows = (0..).map(StackId::new).zip(self.rows.iter().copied());
        rows.filter(|(_, row)| !row.counts.is_zero())
    }

    /// Bytes that are live, without those of heaptally itself.
    pub(crate) fn program_live_bytes(&self) -> i64 {
        (self.totals.counts() - self.rows[StackId::INTERNAL.index()].counts).live_bytes()
    }

    /// Makes rows and totals equal, of a quiet point in a forked child.
    #[cold]
    fn correct(&mut self) {
        let of_totals = |(index, _): &(usize, &ReadRow)| *index != StackId::UNKNOWN_FREES.index();
        let rows = self.rows.iter().enumerate().filter(of_totals).fold(Counts::ZERO, |sum, (_, row)| sum + row.counts);
        census::correct(words(rows), words(self.totals.counts()));
        self.threads.correct(rows - self.totals.counts());
        self.totals = totals();
        self.totals_before = Some(self.totals);
    }

    fn row(&mut self, id: StackId) -> &mut ReadRow {
        if id.index() >= self.rows.len() && self.grow(id.index() + SLACK).is_err() {
            return self.refused.insert(ReadRow::default());
        }
        &mut self.rows[id.index()]
    }

    /// An allocation that failed in `resize` would end the process.
    fn grow(&mut self, len: usize) -> Result<(), NoMemory> {
        self.rows.try_reserve(len - self.rows.len()).map_err(|_| NoMemory)?;
        self.rows.resize(len, ReadRow::default());
        Ok(())
    }
}

fn words(counts: Counts) -> [u64; 4] {
    let Counts { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes } = counts;
    [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes]
}

/// Frees of blocks that no tag vouched for: always counted on the shared line.
pub(crate) fn unknown_frees() -> Counts {
    let line = PROCESS.shared.line(StackId::UNKNOWN_FREES);
    let [freed_blocks, freed_bytes] = line.map_or([0; 2], |line| line.line.freed());
    Counts { freed_blocks, freed_bytes, ..Counts::ZERO }
}

/// The process's totals.
pub(crate) fn totals() -> Totals {
    let [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes] = census::totals();
    Totals { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes }
}

/// The process's totals without the blocks of heaptally itself: see [`census::program`].
pub(crate) fn program() -> Counts {
    let [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes] = census::program();
    Counts { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes }
}
