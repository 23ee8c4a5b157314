//! The counters of all stacks, read once, in the order that keeps them true.
//!
//! Run by the aggregator. Allocates only between readings, never while the counters are read: its own allocations
//! would move the totals that tell a quiet point from a busy one.

use heaptally_capture::{Line, PROCESS, StackId, census};
use heaptally_profile::{Counts, Totals};

use super::threads::Threads;

/// Ids that may be issued while the counters are read, before the buffer must grow.
const SLACK: usize = 4096;

/// A reading, by stack id. Kept between snapshots for its memory.
#[derive(Default)]
pub(crate) struct Reading {
    /// Counts of each stack id, pseudo-rows first.
    pub(crate) rows: Vec<Counts>,
    /// Counts of each thread. Read after the rows, too.
    pub(crate) threads: Threads,
    /// The last row for which there was no memory.
    refused: Option<Counts>,
    /// Read after the rows.
    pub(crate) totals: Totals,
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
        census::freed_rows(|id, [blocks, bytes]| {
            let row = self.row(id);
            row.freed_blocks = row.freed_blocks.wrapping_add(blocks);
            row.freed_bytes = row.freed_bytes.wrapping_add(bytes);
        });
        census::allocated_rows(|id, [blocks, bytes]| {
            let row = self.row(id);
            row.allocated_blocks = row.allocated_blocks.wrapping_add(blocks);
            row.allocated_bytes = row.allocated_bytes.wrapping_add(bytes);
        });
        self.threads.read();
        self.totals = totals();
        self.totals_before = (!in_flight).then_some(before);
        if census::is_correction_due() && self.refused.is_none() && self.totals_before == Some(self.totals) {
            self.correct();
        }
        if self.refused.is_none() { Ok(()) } else { Err(NoMemory) }
    }

    /// Makes rows and totals equal, of a quiet point in a forked child.
    #[cold]
    fn correct(&mut self) {
        let of_totals = |(index, _): &(usize, &Counts)| *index != StackId::UNKNOWN_FREES.index();
        let rows = self.rows.iter().enumerate().filter(of_totals).fold(Counts::ZERO, |sum, (_, &row)| sum + row);
        census::correct(words(rows), words(self.totals.counts()));
        self.threads.correct(rows - self.totals.counts());
        self.totals = totals();
        self.totals_before = Some(self.totals);
    }

    fn row(&mut self, id: StackId) -> &mut Counts {
        if id.index() >= self.rows.len() && self.grow(id.index() + SLACK).is_err() {
            return self.refused.insert(Counts::ZERO);
        }
        &mut self.rows[id.index()]
    }

    /// An allocation that failed in `resize` would end the process.
    fn grow(&mut self, len: usize) -> Result<(), NoMemory> {
        self.rows.try_reserve(len - self.rows.len()).map_err(|_| NoMemory)?;
        self.rows.resize(len, Counts::ZERO);
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
    let [freed_blocks, freed_bytes] = line.map_or([0; 2], Line::freed);
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
