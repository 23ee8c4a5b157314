//! A function that may leak, with the evidence.
//!
//! Made by `suspects`, read on any thread. Every number is exact or a bound, and says which.

use std::time::Duration;

use crate::evidence::{Elders, Growth};
use crate::row::Row;
use crate::window::PARTS;

const NS_PER_HOUR: u128 = 3600 * 1_000_000_000;

/// A function whose live bytes grew steadily over a [window](Suspect::window), up to the snapshot.
#[derive(Clone, Debug)]
pub struct Suspect {
    pub(crate) row: Row,
    pub(crate) mean_age: Option<Duration>,
    pub(crate) window: Duration,
    pub(crate) growth: Growth,
    /// By point of the history, oldest first.
    pub(crate) elders: Vec<Elders>,
}

impl Suspect {
    /// The function, with its counters at the snapshot.
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// The path of the function.
    pub fn function(&self) -> &str {
        self.row.function()
    }

    /// For how long it has been growing: the longest of the windows over which it grew steadily.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// The least growth of its floor from one eighth of the window to the next, in bytes. The floor of an eighth is
    /// the sum, over the sites, of the least that each held in it.
    pub fn steady_bytes(&self) -> u64 {
        self.growth.steady_bytes()
    }

    /// [`steady_bytes`](Suspect::steady_bytes) as bytes per hour.
    pub fn bytes_per_hour(&self) -> u64 {
        let bytes = u128::from(self.steady_bytes()) * PARTS as u128 * NS_PER_HOUR / self.window.as_nanos().max(1);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// How much higher the floor of the last eighth of the window is than that of the first, in bytes.
    pub fn grown_bytes(&self) -> u64 {
        self.growth.floors[PARTS - 1].saturating_sub(self.growth.floors[0])
    }

    /// Whether its sites may have held as much before the window as in its last eighth: perhaps a buffer that fills
    /// once more. Exact where the function has one site; of several, the peaks need not have been at one time.
    pub fn may_regain(&self) -> bool {
        self.growth.peak_before_bytes >= self.growth.floors[PARTS - 1]
    }

    /// The mean age of its live blocks.
    pub fn mean_age(&self) -> Option<Duration> {
        self.mean_age
    }

    /// The part of all its blocks that is live, from 0 to 1.
    pub fn survival(&self) -> f64 {
        let counts = self.row.counts();
        counts.live_blocks() as f64 / counts.allocated_blocks.max(1) as f64
    }

    /// How many of its live blocks are older than `age` at least, and how many bytes. `None` when the history does not
    /// go back that far. The moment asked about is the newest point of the history that is so old.
    ///
    /// For each site it is what had been allocated until that moment, minus all that has been freed until now, if that
    /// is more than zero. Each block freed until now was allocated before that moment or after it; so at most so many
    /// of those from before are gone, and the others are live. Sites that the history does not know at that moment
    /// count as none.
    pub fn surely_older_than(&self, age: Duration) -> Option<Elders> {
        self.elders.iter().rev().find(|elders| elders.age >= age).copied()
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{counts, site_at, snapshot_at};
    use crate::lifetimes::Lifetimes;
    use crate::{History, HistoryLimits, NodeId, Point, Snapshot};

    use super::*;

    /// `app::open` has two sites. Of the first, 2 blocks are allocated a second and 1 is freed, of 10 bytes each. Of
    /// the second there are 5 blocks more at each second, and all but the last 5 are freed.
    fn at(second: u64) -> Snapshot {
        let leak = counts(2 * second, 20 * second, second, 10 * second);
        let churn = counts(5 * second + 5, 500 * second + 500, 5 * second, 500 * second);
        let born = Lifetimes { allocated_births: 4 * second * second, freed_births: 0, ..Lifetimes::ZERO };
        let sites = vec![site_at("app::open", 1, 1, leak).with_lifetimes(born), site_at("app::open", 2, 2, churn)];
        snapshot_at(Duration::from_secs(second), sites)
    }

    fn suspect_at(second: u64) -> Suspect {
        let mut history = History::new(HistoryLimits { points_per_level: 1000, sites: 8 });
        (0..=second).for_each(|second| history.push(&Point::of(&at(second), 8)));
        at(second).suspects(&history).rows()[0].clone()
    }

    fn elders(suspect: &Suspect, age_ms: u64) -> Option<(u64, u64, u64)> {
        let elders = suspect.surely_older_than(Duration::from_millis(age_ms))?;
        Some((elders.age.as_secs(), elders.blocks, elders.bytes))
    }

    /// At 80 s, 80 blocks of the first site have been freed. At 60 s it had allocated 120, at 50 s 100, at 40 s 80. Of
    /// the second site, whose frees outnumber what there was until 79 s, nothing is sure; together with the first it
    /// would take that from it.
    #[test]
    fn what_is_surely_old_was_there_and_cannot_all_have_been_freed() {
        let suspect = suspect_at(80);
        assert_eq!(suspect.row().counts().live_blocks(), 85);
        assert_eq!(elders(&suspect, 20_000), Some((20, 40, 400)));
        assert_eq!(elders(&suspect, 29_001), Some((30, 20, 200)));
        assert_eq!(elders(&suspect, 40_000), Some((40, 0, 0)));
        assert_eq!(elders(&suspect, 80_000), Some((80, 0, 0)));
        assert_eq!(elders(&suspect, 80_001), None);
        assert_eq!(elders(&suspect, 0), Some((0, 85, 1300)));
    }

    /// The history knows the first site only, of which 32 blocks had been allocated at 16 s, and 16 are freed.
    #[test]
    fn sites_that_the_history_does_not_know_have_no_old_blocks() {
        let mut history = History::new(HistoryLimits { points_per_level: 1000, sites: 1 });
        let first = |second| {
            let sites = at(second).sites().iter().filter(|site| site.node() == Some(NodeId(1))).cloned().collect();
            snapshot_at(Duration::from_secs(second), sites)
        };
        (0..=16).for_each(|second| history.push(&Point::of(&first(second), 8)));
        let suspects = at(16).suspects(&history);
        assert_eq!(suspects.rows()[0].row().counts().live_blocks(), 21);
        assert_eq!(elders(&suspects.rows()[0], 0), Some((0, 16, 160)));
    }

    #[test]
    fn survivors_are_told_as_a_part_of_all_that_was_allocated() {
        let suspect = suspect_at(20);
        assert_eq!((suspect.row().counts().live_blocks(), suspect.row().counts().allocated_blocks), (25, 145));
        assert_eq!(suspect.survival(), 25.0 / 145.0);
    }

    /// The first site grows by 10 bytes a second, so by 20 in an eighth of 16 s.
    #[test]
    fn growth_is_told_by_the_hour() {
        let suspect = suspect_at(16);
        assert_eq!((suspect.steady_bytes(), suspect.grown_bytes(), suspect.bytes_per_hour()), (20, 140, 36_000));
        assert_eq!((suspect.function(), suspect.window().as_secs()), ("app::open", 16));
    }

    /// The first site has 20 live blocks at 20 s and 5 the other, whose births are all zero here; those of the first
    /// add up to 1,600 ticks. It is tick 80: 25 × 80 - 1,600 = 400 ticks, 16 for each.
    #[test]
    fn the_mean_age_is_that_of_the_row_at_the_tick_of_the_snapshot() {
        assert_eq!(suspect_at(20).mean_age(), Some(Duration::from_secs(4)));
    }
}
