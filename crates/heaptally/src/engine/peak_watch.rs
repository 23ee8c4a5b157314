//! The rows of the heap as they were close to its peak.
//!
//! Owned by the collector. The hook tells of a new height by the bell ([`heaptally_capture::Peak`]); then, and at every
//! tick, the counters are read if more is live than when they were. Only rows that hold something are kept.

use std::mem;
use std::time::{Duration, Instant};

use heaptally_capture::{PROCESS, StackId, UNTOLD_BYTES};
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
    /// The most that was live, by what threads have told, while the counters were read.
    read_at_bytes: i64,
    not_before: Option<Instant>,
}

impl PeakWatch {
    /// Whether the counters are to be read when `told_bytes` are live by what threads have told. Not when the heap was
    /// higher since: what it held then cannot be read any more.
    pub(crate) fn is_due(&self, told_bytes: i64) -> bool {
        let is_higher = told_bytes > self.read_at_bytes;
        if !is_higher {
            // The bell may have rung for a height that has passed.
            self.ask_for_bell();
        }
        is_higher
    }

    /// Whether reading has its part of the time for nobody having asked.
    pub(crate) fn has_time(&self) -> bool {
        self.not_before.is_none_or(|time| Instant::now() >= time)
    }

    /// Keeps a reading that was begun at `begun`, if it is higher than the last, and asks to be told of more. Without
    /// memory for it there is none. `told_bytes` were live at least meanwhile.
    pub(crate) fn offer(&mut self, reading: &Reading, told_bytes: i64, begun: Instant, elapsed: Duration) {
        let live_bytes = reading.program_live_bytes();
        self.read_at_bytes = self.read_at_bytes.max(told_bytes);
        if live_bytes > self.captured.live_bytes {
            let live = || reading.with_counts().filter(|(_, row)| row.counts.live_blocks() > 0);
            let mut rows = mem::take(&mut self.captured.rows);
            rows.clear();
            self.captured = Captured::default();
            if rows.try_reserve(live().count()).is_ok() {
                rows.extend(live());
                self.captured = Captured { rows, totals: reading.totals, tick: reading.tick, elapsed, live_bytes };
            } else {
                self.read_at_bytes = 0;
            }
        }
        self.not_before = Some(Instant::now() + begun.elapsed() * SHARE);
        self.ask_for_bell();
    }

    fn ask_for_bell(&self) {
        // Within what the sum of what was told may be off, it says nothing.
        let step = (self.read_at_bytes / STEP).max(error_bytes());
        PROCESS.peak.ring_at(self.read_at_bytes + step);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a heap of so many bytes.
    fn offer(watch: &mut PeakWatch, live_bytes: u64, told_bytes: i64) {
        watch.offer(&reading(live_bytes), told_bytes, Instant::now(), Duration::ZERO);
    }

    fn reading(live_bytes: u64) -> Reading {
        let mut reading = Reading::default();
        reading.rows.resize(StackId::FIRST_REAL.index(), ReadRow::default());
        reading.totals.allocated_bytes = live_bytes;
        reading
    }

    #[test]
    fn the_counters_are_read_when_more_is_live_than_when_they_were() {
        let mut watch = PeakWatch::default();
        assert!(!watch.is_due(0) && watch.is_due(1));
        // Of 1,000,000 bytes that made the bell ring, half are gone when it is heard.
        offer(&mut watch, 480_000, 500_000);
        assert_eq!(watch.captured().live_bytes, 480_000);
        // Nothing has happened since, or the heap has fallen: there is nothing to be read, at no tick.
        assert!(!watch.is_due(500_000) && !watch.is_due(400_000));
        // Short of the peak, and yet more than what is known of it.
        assert!(watch.is_due(900_000));
        offer(&mut watch, 910_000, 900_000);
        // Lower than the last one: what is known stays.
        offer(&mut watch, 300_000, 310_000);
        assert_eq!(watch.captured().live_bytes, 910_000);
        assert!(!watch.is_due(890_000) && watch.is_due(900_001));
    }

    #[test]
    fn reading_takes_a_part_of_the_time() {
        let mut watch = PeakWatch::default();
        assert!(watch.has_time());
        watch.offer(&reading(0), 0, Instant::now() - Duration::from_secs(1), Duration::ZERO);
        assert!(!watch.has_time());
    }
}
