//! Which functions may leak: those that have grown steadily up to now, by a history.
//!
//! A pure function of a snapshot and a history, for any thread. Printing is in `suspects_table`.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::slice;
use std::time::Duration;

use crate::evidence::{Evidence, Past};
use crate::history::History;
use crate::point::Point;
use crate::site_kind::SiteKind;
use crate::snapshot::Snapshot;
use crate::stack::NodeId;
use crate::suspect::Suspect;
use crate::window::Window;

/// The functions that may leak, the fastest growing first. `Display` prints them as a table, `{:#}` all of them.
///
/// *How they are found.* A window is the whole history, its last quarter, its last sixteenth and so on, if it is 8 s
/// long and has points in each of its eight parts. The floor of a part is the least that was held in it. A function is
/// a suspect if its floor grew from each part to the next, in some window; the longest one is its
/// [window](Suspect::window). They are ranked by the [least of these growths](Suspect::steady_bytes), per second, then
/// by live bytes; behind all others come those that [may have held as much before](Suspect::may_regain).
///
/// So a cache that has filled is none, nor what goes up and down, however much it is; a buffer that fills and empties
/// may be one while it fills, and ranks behind as soon as it has once been as full. A leak that began lately is found
/// by a shorter window. One that has stopped leaves the list when a quarter of its window has passed without growth.
/// *What grows and will stop, a cache that is being filled, cannot be told from a leak*: it is listed, with its
/// evidence.
///
/// Only sites count that the history knows throughout the window: in each point, or missing from one that
/// [is complete](Point::is_complete). What a point does not have is not taken for nothing.
///
/// # Examples
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use heaptally_profile::{Counts, History, HistoryLimits, NodeId, Owner, Point, Site, SiteKind};
/// # use heaptally_profile::{Snapshot, SnapshotParts};
/// # let owner = Arc::new(Owner { function: "app::open".into(), module: None, location: None });
/// # let snapshot_at = |second| {
/// #     let counts = Counts { allocated_blocks: second, allocated_bytes: 100 * second, ..Counts::ZERO };
/// #     let site = Site::new(SiteKind::Module, Arc::clone(&owner), Some((Arc::default(), NodeId(1))), counts);
/// #     let elapsed = Duration::from_secs(second);
/// #     let (totals, sites) = (counts.into(), vec![site]);
/// #     Snapshot::from_parts(SnapshotParts { totals, sites, elapsed, ..SnapshotParts::default() })
/// # };
/// let mut history = History::new(HistoryLimits::DEFAULT);
/// for second in 0..=64 {
///     history.push(&Point::of(&snapshot_at(second), 128)); // app::open keeps a block of 100 bytes a second
/// }
/// let suspects = snapshot_at(64).suspects(&history);
/// let first = suspects.iter().next().unwrap();
/// assert_eq!((first.function(), first.bytes_per_hour()), ("app::open", 360_000));
/// assert_eq!(first.surely_older_than(Duration::from_secs(32)).unwrap().blocks, 32);
/// ```
#[derive(Clone, Debug)]
pub struct Suspects {
    rows: Vec<Suspect>,
    history: Duration,
    points: usize,
    is_too_short: bool,
}

impl Suspects {
    pub(crate) fn new(snapshot: &Snapshot, history: &History) -> Self {
        let now = snapshot.elapsed();
        let points: Vec<&Point> = history.iter().take_while(|point| point.elapsed() <= now).collect();
        let windows = Window::all(&points, now);
        let mut rows = suspects(snapshot, &Past { points: &points, windows: &windows, now });
        rows.sort_by(|a, b| {
            let key = |suspect: &Suspect| {
                let live_bytes = suspect.row.counts().live_bytes();
                (suspect.may_regain(), Reverse(suspect.bytes_per_hour()), Reverse(live_bytes))
            };
            key(a).cmp(&key(b)).then_with(|| a.function().cmp(b.function()))
        });
        Self {
            rows,
            history: points.first().map_or(Duration::ZERO, |first| now.saturating_sub(first.elapsed())),
            points: points.len(),
            is_too_short: windows.is_empty(),
        }
    }

    /// The suspects, first those to be looked at first.
    pub fn rows(&self) -> &[Suspect] {
        &self.rows
    }

    /// The suspects, first those to be looked at first.
    pub fn iter(&self) -> slice::Iter<'_, Suspect> {
        self.rows.iter()
    }

    /// Whether the history has too few points to say anything, or spans too little time.
    pub fn is_too_short(&self) -> bool {
        self.is_too_short
    }

    /// The time from the oldest point of the history to the snapshot.
    pub fn history(&self) -> Duration {
        self.history
    }

    /// How many points of the history are not later than the snapshot.
    pub(crate) fn points(&self) -> usize {
        self.points
    }
}

impl<'a> IntoIterator for &'a Suspects {
    type Item = &'a Suspect;
    type IntoIter = slice::Iter<'a, Suspect>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The suspects, in the order of the snapshot.
fn suspects(snapshot: &Snapshot, past: &Past<'_>) -> Vec<Suspect> {
    let known: HashSet<NodeId> = past.points.iter().flat_map(|point| point.sites()).map(|site| site.node).collect();
    let rows = snapshot.by_function();
    let mut evidence: HashMap<(SiteKind, &str), Evidence> = HashMap::new();
    for site in snapshot.sites().iter().filter(|site| site.kind().is_code()) {
        if let Some(node) = site.node().filter(|node| known.contains(node)) {
            let of_row = evidence.entry((site.kind(), site.function())).or_insert_with(|| Evidence::new(past));
            of_row.add(past, node, site.counts());
        }
    }
    let suspects = rows.iter().filter_map(|row| {
        let Evidence { growths, elders } = evidence.remove(&(row.kind(), row.function()))?;
        let (window, growth) = past.windows.iter().zip(growths).find(|(_, growth)| growth.steady_bytes() > 0)?;
        let mean_age = row.lifetimes().mean_age(row.counts(), snapshot.tick());
        Some(Suspect { row: row.clone(), mean_age, window: window.length, growth, elders })
    });
    suspects.collect()
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{counts, site_at, snapshot_at};
    use crate::{Counts, HistoryLimits};

    use super::*;

    /// All points of the tests, so that floors are those of the points.
    const ALL: HistoryLimits = HistoryLimits { points_per_level: 4096, sites: 128 };

    /// A function, its node, and what it holds.
    type Held = (&'static str, u32, u64);

    /// A program of which a history takes a point each second.
    struct Program<F> {
        history: History,
        seconds: u64,
        held: F,
    }

    impl<F: Fn(u64) -> Vec<Held>> Program<F> {
        fn new(limits: HistoryLimits, held: F) -> Self {
            Self { history: History::new(limits), seconds: 0, held }
        }

        /// A thousand blocks were allocated and freed before the one that is held.
        fn snapshot(&self, second: u64) -> Snapshot {
            let at = |(function, node, bytes)| {
                site_at(function, node, 1, counts(1001, 100_000_000_000 + bytes, 1000, 100_000_000_000))
            };
            snapshot_at(Duration::from_secs(second), (self.held)(second).into_iter().map(at).collect())
        }

        /// What is suspect at this second.
        fn suspects_at(&mut self, second: u64) -> Suspects {
            while self.seconds <= second {
                self.history.push(&Point::of(&self.snapshot(self.seconds), self.history.limits().sites));
                self.seconds += 1;
            }
            self.snapshot(second).suspects(&self.history)
        }
    }

    fn names(suspects: &Suspects) -> Vec<&str> {
        suspects.iter().map(Suspect::function).collect()
    }

    /// Over 64 s the leak grows by 800 bytes in each eighth; the cache, a thousand times as fast, in the first two.
    #[test]
    fn a_leak_is_a_suspect_and_a_cache_that_has_filled_is_not() {
        let mut program = Program::new(ALL, |second| {
            vec![("app::leak", 1, 100 * second), ("app::cache", 2, 100_000 * second.min(10)), ("app::still", 3, 500)]
        });
        let suspects = program.suspects_at(64);
        assert_eq!(names(&suspects), ["app::leak"]);
        let leak = &suspects.rows()[0];
        assert_eq!((leak.window().as_secs(), leak.steady_bytes(), leak.bytes_per_hour()), (64, 800, 360_000));
        assert_eq!((leak.grown_bytes(), leak.may_regain()), (5_600, false));
        assert!(!suspects.is_too_short());
    }

    #[test]
    fn a_cache_that_is_being_filled_is_listed_like_a_leak() {
        let mut program = Program::new(ALL, |second| vec![("app::cache", 2, 100_000 * second.min(10))]);
        assert_eq!(names(&program.suspects_at(9)), ["app::cache"]);
        assert!(program.suspects_at(20).rows().is_empty());
    }

    /// A megabyte a second for 20 s, then nothing. At 79 s the last quarter, 19.75 s, shows only growth: its last
    /// eighth begins at 76.53 s, with 17 MB, and there were 19 MB at 19, 39 and 59 s.
    #[test]
    fn a_buffer_that_fills_up_once_more_ranks_behind_a_leak() {
        let mut program = Program::new(ALL, |second| {
            vec![("app::leak", 1, 100 * second), ("app::batch", 2, second % 20 * 1_000_000)]
        });
        let suspects = program.suspects_at(79);
        assert_eq!(names(&suspects), ["app::leak", "app::batch"]);
        let batch = &suspects.rows()[1];
        assert_eq!((batch.window(), batch.may_regain()), (Duration::from_millis(19_750), true));
        assert_eq!(names(&program.suspects_at(81)), ["app::leak"]);
    }

    /// Points older than a minute are 4, 16, 64 and 256 s apart, which the teeth of 65 s beat with. Only the tooth
    /// that rises now is growth, for as long as its zero is not in the second eighth of the window: 65 / 7 × 8 s.
    #[test]
    fn thinning_makes_no_growth_out_of_teeth() {
        let mut program = Program::new(HistoryLimits::DEFAULT, |second| {
            vec![("app::batch", 2, second % 65 * 1000), ("app::still", 3, 1)]
        });
        for second in (130..6000).step_by(31) {
            let longest = program.suspects_at(second).iter().map(Suspect::window).max();
            assert!(longest.is_none_or(|window| window < Duration::from_secs(75)), "{longest:?} at {second} s");
        }
        let oldest: Vec<u64> = program.history.iter().map(|point| point.elapsed().as_secs()).take(4).collect();
        assert_eq!(oldest, [0, 256, 512, 576]);
    }

    /// 100 requests a second that leave 10 bytes each, and 0 to 4 that are in progress with 10 KiB each; none at every
    /// fifth second. The floors of the eighths are those of 0, 10, 20, 25, 35, 40, 50 and 60 s; the least growth is
    /// that of 5 s.
    #[test]
    fn ten_bytes_a_request_are_found_beside_ten_kib_of_churn() {
        let churn = |second| second * 4 % 5 * 10_240;
        let mut program = Program::new(ALL, |second| {
            vec![("app::handle", 1, 1000 * second + churn(second)), ("app::render", 2, 50 * churn(second))]
        });
        let suspects = program.suspects_at(64);
        assert_eq!(names(&suspects), ["app::handle"]);
        assert_eq!((suspects.rows()[0].steady_bytes(), suspects.rows()[0].bytes_per_hour()), (5000, 2_250_000));
    }

    /// At 1,100 s the windows are 1,100, 275, 68.75 and 17.19 s long. The first points of the eighths of the third are
    /// those of 1032, 1040, 1049, 1058, 1066, 1075, 1083 and 1092 s: at least 8 s apart, of 8.59.
    #[test]
    fn a_leak_that_began_late_is_found_by_a_shorter_window() {
        let mut program = Program::new(ALL, |second| {
            vec![("app::leak", 1, 100 * second.saturating_sub(1000)), ("app::still", 2, 5000)]
        });
        assert!(program.suspects_at(1000).rows().is_empty());
        let suspects = program.suspects_at(1100);
        assert_eq!(names(&suspects), ["app::leak"]);
        let leak = &suspects.rows()[0];
        assert_eq!((leak.window(), leak.bytes_per_hour()), (Duration::from_millis(68_750), 335_127));
        assert!(!leak.may_regain());
    }

    /// At 84 s the last eighth but one begins at 63 s, at 85 s at 63.75.
    #[test]
    fn a_leak_that_stopped_is_listed_for_a_quarter_of_its_window() {
        let mut program = Program::new(ALL, |second| vec![("app::leak", 1, 100 * second.min(64))]);
        assert_eq!(names(&program.suspects_at(84)), ["app::leak"]);
        assert!(program.suspects_at(85).rows().is_empty());
    }

    #[test]
    fn what_was_freed_since_the_last_point_is_no_suspect() {
        let mut program = Program::new(ALL, |second| vec![("app::leak", 1, 100 * second)]);
        program.suspects_at(64);
        let freed = snapshot_at(
            Duration::from_millis(64_500),
            vec![site_at("app::leak", 1, 1, counts(1001, 6400, 1001, 6400))],
        );
        assert!(freed.suspects(&program.history).rows().is_empty());
    }

    /// A history of a copy that goes on is as good as one that ends at the snapshot.
    #[test]
    fn points_after_the_snapshot_say_nothing() {
        let mut program = Program::new(ALL, |second| vec![("app::leak", 1, 100 * second.min(64))]);
        program.suspects_at(500);
        assert_eq!(program.suspects_at(64).rows()[0].window().as_secs(), 64);
        assert_eq!(program.suspects_at(5).history().as_secs(), 5);
    }

    /// Ten sites with a gigabyte each, of which up to a tenth comes and goes.
    #[test]
    fn churn_ranks_behind_a_leak_however_large_it_is() {
        let mut program = Program::new(HistoryLimits::DEFAULT, |second| {
            let churn = (2..12).map(|node| ("app::churn", node, 1_000_000_000 - random(second, node) % 100_000_000));
            churn.chain([("app::leak", 1, 100 * second)]).collect()
        });
        for second in (64..3000).step_by(13) {
            let suspects = program.suspects_at(second);
            assert_eq!(names(&suspects).first(), Some(&"app::leak"), "at {second} s:\n{suspects}");
        }
    }

    /// A number that looks random: the mixing of splitmix64.
    fn random(second: u64, stream: u32) -> u64 {
        let mixed = (second << 32 | u64::from(stream)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Eight large sites go, one in each eighth, and make room for eight small ones that were there all the time.
    #[test]
    fn sites_that_become_known_one_by_one_are_no_growth() {
        let limits = HistoryLimits { sites: 8, ..ALL };
        let mut program = Program::new(limits, |second| {
            let large = (1..=8).map(|node| ("app::large", node, if second < 8 * u64::from(node) { 1000 } else { 0 }));
            let small = (11..=18).map(|node| ("app::small", node, 100));
            large.chain(small).collect()
        });
        let suspects = program.suspects_at(64);
        let known_small = |point: &Point| point.sites().iter().filter(|site| site.node.0 > 10).count();
        assert_eq!(program.history.iter().step_by(8).map(known_small).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(names(&suspects), [""; 0]);
    }

    /// Where every point has all sites, one that a point does not have held nothing then.
    #[test]
    fn a_site_that_comes_into_being_counts_from_zero() {
        let mut program = Program::new(ALL, |second| {
            let begun = (0..=second / 4).map(|number| ("app::spread", 10 + number as u32, 100));
            begun.collect()
        });
        let suspects = program.suspects_at(64);
        assert_eq!(names(&suspects), ["app::spread"]);
        assert_eq!(suspects.rows()[0].steady_bytes(), 200);
    }

    #[test]
    fn pseudo_rows_are_no_suspects() {
        let mut history = History::new(ALL);
        let at = |second: u64| {
            let site = crate::Site::pseudo(SiteKind::Paused, counts(second, 100 * second, 0, 0));
            snapshot_at(Duration::from_secs(second), vec![site])
        };
        (0..=64).for_each(|second| history.push(&Point::of(&at(second), 128)));
        assert_eq!(
            history.last().map(|point| point.program()),
            Some(Counts { allocated_blocks: 64, allocated_bytes: 6400, ..Counts::ZERO })
        );
        assert!(at(64).suspects(&history).rows().is_empty());
    }
}
