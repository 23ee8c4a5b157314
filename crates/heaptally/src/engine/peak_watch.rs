//! The rows of the heap as they were close to its peak.
//!
//! Owned by the collector. The hook tells of a new height by the bell ([`heaptally_capture::Peak`]); then, and at every
//! tick, the counters are read if there is something higher than what was kept. Only rows that hold something are kept.

use std::mem;
use std::time::{Duration, Instant};

use heaptally_capture::{PROCESS, StackId, UNTOLD_BYTES, census};
use heaptally_profile::{PeakBytes, TickNumber, Totals};

use super::counts::{ReadRow, Reading};

/// Part of a processor that reading may take: one of so many.
const SHARE: u32 = 20;
/// How much more there must be before the rows are read again: one of so many parts.
const STEP: i64 = 50;

/// What was read close to the peak.
#[derive(Default)]
pub(crate) struct Captured {
    /// Rows with live blocks.
    pub(crate) rows: Vec<(StackId, ReadRow)>,
    pub(crate) totals: Totals,
    pub(crate) tick: TickNumber,
    pub(crate) elapsed: Duration,
    /// The program's.
    live_bytes: i64,
}

/// See the module's head.
#[derive(Default)]
pub(crate) struct PeakWatch {
    captured: Captured,
    not_before: Option<Instant>,
}

impl PeakWatch {
    /// Whether the counters are to be read now.
    pub(crate) fn is_due(&self) -> bool {
        // What the threads do not tell.
        PROCESS.peak.set_before_start(census::before_start_bytes(), &PROCESS.doorbell);
        let may_read = self.not_before.is_none_or(|time| Instant::now() >= time);
        may_read && PROCESS.peak.highest_bytes() > self.captured.live_bytes
    }

    /// Keeps a reading that was begun at `begun`, if it is higher than the last, and asks to be told of more. Without
    /// memory for it there is none.
    pub(crate) fn offer(&mut self, reading: &Reading, begun: Instant, elapsed: Duration) {
        let live_bytes = reading.program_live_bytes();
        if live_bytes > self.captured.live_bytes {
            let live = || reading.with_counts().filter(|(_, row)| row.counts.live_blocks() > 0);
            let mut rows = mem::take(&mut self.captured.rows);
            rows.clear();
            self.captured = Captured::default();
            if rows.try_reserve(live().count()).is_ok() {
                rows.extend(live());
                self.captured = Captured { rows, totals: reading.totals, tick: reading.tick, elapsed, live_bytes };
            }
        }
        self.not_before = Some(Instant::now() + begun.elapsed() * SHARE);
        // Within what the sum of what was told may be off, it says nothing.
        let step = (self.captured.live_bytes / STEP).max(error_bytes());
        PROCESS.peak.ring_at(self.captured.live_bytes + step);
    }

    /// What was kept.
    pub(crate) fn captured(&self) -> &Captured {
        &self.captured
    }
}

/// The most bytes of the program that were live at once.
pub(crate) fn peak_bytes() -> PeakBytes {
    PeakBytes {
        live_bytes: PROCESS.peak.highest_bytes().max(0).cast_unsigned(),
        error_bytes: error_bytes().cast_unsigned(),
    }
}

fn error_bytes() -> i64 {
    UNTOLD_BYTES * PROCESS.registry.states() as i64
}
