//! The heap over time: the history, and when its next point is due.
//!
//! Owned by the collector and run on the aggregator's thread alone. No clock: times are given, all of them since the
//! start of tracking. Allocates when a point is pushed, as "(heaptally itself)".
//!
//! Points are due on a grid of the period, so that they do not drift. Those that were missed, because the aggregator was
//! busy or has to rest, are left out.

use std::hint::black_box;
use std::time::Duration;

use heaptally_capture::StackId;
use heaptally_profile::{History, HistoryLimits, TickNumber};

use super::counts::Reading;
use super::stack_store::STORE;

/// It rests so many times as long as recording took: no more than 0.5 % of a processor goes into the history.
const REST: u32 = 200;

/// More than what a push allocates for each site of a point, and for each point of a level.
const PUSH_BYTES: usize = 512;

/// See the module's head.
pub(crate) struct Recorder {
    history: History,
    /// 0 for no history.
    limit_bytes: usize,
    period: Duration,
    /// `Duration::MAX` for never.
    due: Duration,
}

impl Recorder {
    /// Records at every `period`, a tick at least, beginning at once; without limits, nothing ever.
    pub(crate) fn new(limits: Option<HistoryLimits>, period: Duration) -> Self {
        Self {
            history: History::new(limits.unwrap_or_default()),
            limit_bytes: limits.map_or(0, HistoryLimits::most_bytes),
            period: period.max(TickNumber::LENGTH),
            due: if limits.is_some() { Duration::ZERO } else { Duration::MAX },
        }
    }

    pub(crate) fn is_due(&self, now: Duration) -> bool {
        now >= self.due
    }

    /// Puts the next point off, when recording one has taken so much of a processor.
    pub(crate) fn rest_after(&mut self, now: Duration, taken: Duration) {
        let late = now.saturating_sub(self.due).saturating_add(taken.saturating_mul(REST));
        let missed = u32::try_from(late.as_nanos() / self.period.as_nanos()).unwrap_or(u32::MAX);
        self.due = self.due.saturating_add(self.period.saturating_mul(missed.saturating_add(1)));
    }

    /// Appends what was read, unless there is no memory for that. It was read by `elapsed`, and has been drained since.
    pub(crate) fn push(&mut self, reading: &Reading, elapsed: Duration) {
        if !self.has_room(reading.rows.len()) {
            return;
        }
        let (pseudo, real) = reading.rows.split_at(StackId::FIRST_REAL.index());
        let program = reading.totals.counts() - pseudo[StackId::INTERNAL.index()].counts;
        let with_counts = (pseudo.len() as u32..).zip(real).filter(|(_, row)| !row.counts.is_zero());
        let sites = with_counts.filter_map(|(id, row)| Some((STORE.leaf(StackId::new(id))?, row.counts)));
        self.history.push_counts(reading.tick, elapsed, program, sites);
    }

    /// Whether there is memory for a push: takes it in one block, and gives it back. An allocation that failed in the
    /// push would end the process, of a program that may do well with what it has.
    fn has_room(&self, rows: usize) -> bool {
        let limits = self.history.limits();
        let points = limits.points_per_level.min(self.history.len() + 1);
        let mut room: Vec<u8> = Vec::new();
        let has_room = room.try_reserve_exact((limits.sites.min(rows) + points) * PUSH_BYTES).is_ok();
        // Or the optimizer would leave out a block that nobody uses.
        black_box(room.as_ptr());
        has_room
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// What the history takes.
    pub(crate) fn bytes(&self) -> usize {
        self.history.bytes().min(self.limit_bytes)
    }

    /// The most that it may take.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The times of the first points by a clock with ticks of 250 ms, each of which takes `taken` of a processor.
    fn due_at<const N: usize>(period: Duration, taken: Duration) -> [u64; N] {
        let mut recorder = Recorder::new(Some(HistoryLimits::DEFAULT), period);
        let mut ticks = (1..).map(|tick| 250 * tick);
        std::array::from_fn(|_| {
            let now = ticks.find(|&now| recorder.is_due(ms(now))).expect("ticks go on");
            recorder.rest_after(ms(now), taken);
            now
        })
    }

    #[test]
    fn points_are_due_on_a_grid_at_the_first_tick() {
        let short = Duration::from_micros(1);
        assert_eq!(due_at(ms(1000), short), [250, 1000, 2000, 3000]);
        assert_eq!(due_at(ms(250), short), [250, 500, 750, 1000]);
        assert_eq!(due_at(ms(400), short), [250, 500, 1000, 1250, 1750, 2000]);
    }

    #[test]
    fn a_period_of_less_than_a_tick_is_one() {
        for period in [0, 1, 249] {
            assert_eq!(due_at(ms(period), Duration::ZERO), [250, 500, 750, 1000]);
        }
    }

    /// 200 × 6 ms are 1.2 s, and 200 × 5 s are 1,000.
    #[test]
    fn recording_rests_two_hundred_times_as_long_as_it_took() {
        assert_eq!(due_at(ms(1000), ms(6)), [250, 2000, 4000, 6000]);
        assert_eq!(due_at(ms(1000), ms(5000)), [250, 1_001_000, 2_002_000]);
    }

    #[test]
    fn points_that_were_missed_are_not_made_up_for() {
        let mut recorder = Recorder::new(Some(HistoryLimits::DEFAULT), ms(1000));
        recorder.rest_after(ms(250), Duration::ZERO);
        recorder.rest_after(ms(7300), Duration::ZERO);
        assert_eq!([7999, 8000].map(|now| recorder.is_due(ms(now))), [false, true]);
    }

    #[test]
    fn without_limits_or_at_a_period_without_end_nothing_is_due() {
        let never = Recorder::new(None, ms(1000));
        assert!(!never.is_due(Duration::from_secs(1 << 40)));
        assert_eq!((never.bytes(), never.limit_bytes()), (0, 0));
        let mut once = Recorder::new(Some(HistoryLimits::DEFAULT), Duration::MAX);
        assert!(once.is_due(ms(250)));
        once.rest_after(ms(250), Duration::MAX);
        assert!(!once.is_due(Duration::from_secs(1 << 40)));
        assert_eq!(once.limit_bytes(), 4_184_376);
    }
}
