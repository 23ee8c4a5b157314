//! The heap by allocation site at one moment.
//!
//! The aggregator builds a snapshot from parts; after that it never changes and any thread reads
//! it. Printing is in `snapshot_table`, conservation in `check`, comparing in `diff`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::captures::Captures;
use crate::check::{self, Violation};
use crate::counts::Counts;
use crate::diff::Diff;
use crate::grouping::Grouping;
use crate::history::History;
use crate::losses::Losses;
use crate::overhead::Overhead;
use crate::peak::PeakBytes;
use crate::row::{self, Rank, Row};
use crate::site::Site;
use crate::site_kind::SiteKind;
use crate::snapshot_table::Summary;
use crate::suspects::Suspects;
use crate::symbols::SymbolQuality;
use crate::thread_row::{self, ThreadRow};
use crate::tick_number::TickNumber;
use crate::totals::Totals;

/// A configured module, and whether any stack has matched it so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleUse {
    /// The module as it was configured.
    pub name: Arc<str>,
    /// Whether a stack had a function of it.
    pub matched: bool,
}

/// What a [`Snapshot`] is made of.
#[derive(Clone, Debug, Default)]
pub struct SnapshotParts {
    /// Counts the snapshots of the process from 1; 0 for one without sites, such as one taken before
    /// start.
    pub sequence: u64,
    /// The process-wide counters, read after those of the sites.
    pub totals: Totals,
    /// The process-wide counters, read before those of the sites; `None` when some thread was just
    /// then in the middle of counting, so that equal totals would not mean a quiet point.
    pub totals_before: Option<Totals>,
    /// One entry per stack and per pseudo-row, in any order.
    pub sites: Vec<Site>,
    /// One entry per thread and one for everything else, read with the sites and before `totals`, in any order; none where
    /// threads are not told apart.
    pub threads: Vec<ThreadRow>,
    /// What was lost so far.
    pub losses: Losses,
    /// What heaptally itself costs.
    pub overhead: Overhead,
    /// See [`Snapshot::captures`].
    pub captures: Captures,
    /// What was found at the addresses looked up so far.
    pub symbols: SymbolQuality,
    /// Resident bytes of the process, where the system tells.
    pub resident_bytes: Option<u64>,
    /// The configured modules.
    pub modules: Arc<[ModuleUse]>,
    /// The most that was live at once; `None` before start.
    pub peak: Option<PeakBytes>,
    /// Time since tracking was started.
    pub elapsed: Duration,
    /// The tick in which the counters were read.
    pub tick: TickNumber,
    /// What else a reader must know, one sentence each.
    pub notes: Vec<String>,
}

/// The heap by allocation site at one moment. `Display` prints it as a table.
///
/// The table shows the 20 functions with the most live bytes, percentages of what the program holds,
/// and heaptally itself below the program; `{:#}` shows all functions, and the 10 threads that
/// allocated most. The numbers are the snapshot's own; stacks and symbols are shared with other
/// snapshots. Taken while other threads allocate, each counter is exact for the moment when it was
/// read.
///
/// # Examples
///
/// ```
/// # use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
/// # let counts = Counts { allocated_blocks: 3, allocated_bytes: 300, ..Counts::ZERO };
/// # let sites = vec![Site::pseudo(SiteKind::BeforeStart, counts)];
/// # let parts = SnapshotParts { totals: counts.into(), sites, ..SnapshotParts::default() };
/// # let snapshot = Snapshot::from_parts(parts);
/// for row in snapshot.by_function() {
///     println!("{:>12} {}", row.counts().live_bytes(), row.function());
/// }
/// assert_eq!(snapshot.by_function()[0].counts().live_bytes(), 300);
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    parts: SnapshotParts,
}

impl Snapshot {
    /// Makes a snapshot: sorts the sites by live bytes, then by allocated bytes.
    pub fn from_parts(mut parts: SnapshotParts) -> Self {
        row::sort_sites(&mut parts.sites);
        thread_row::sort(&mut parts.threads);
        Self { parts }
    }

    /// The number of this snapshot among those of the process, from 1; 0 for one without sites, such as
    /// one taken before start.
    pub fn sequence(&self) -> u64 {
        self.parts.sequence
    }

    /// Time from the start of tracking to this snapshot, just before its counters were read.
    pub fn elapsed(&self) -> Duration {
        self.parts.elapsed
    }

    /// The tick in which the counters were read: what [`Lifetimes::mean_age`](crate::Lifetimes::mean_age) is to be
    /// asked with.
    pub fn tick(&self) -> TickNumber {
        self.parts.tick
    }

    /// Everything that it was made of, sorted.
    #[cfg(feature = "json")]
    pub(crate) fn parts(&self) -> &SnapshotParts {
        &self.parts
    }

    /// The counters of the whole process. Read after the sites, so no sum of sites is above them.
    pub fn totals(&self) -> Totals {
        self.parts.totals
    }

    /// The most bytes of the program that were live at once so far, and how much that may be off; `None` before start.
    pub fn peak(&self) -> Option<PeakBytes> {
        self.parts.peak
    }

    /// The totals without the blocks of heaptally itself.
    pub(crate) fn program(&self) -> Counts {
        let own = self.sites().iter().filter(|site| site.kind() == SiteKind::Internal);
        own.fold(self.totals().counts(), |program, site| program - site.counts())
    }

    /// Whether nothing was allocated or freed, and nobody was about to count, while the counters were read. Then the
    /// sites add up to the totals; otherwise to a little less.
    pub fn is_quiet(&self) -> bool {
        self.parts.totals_before == Some(self.parts.totals)
    }

    /// One entry per call stack and per pseudo-row, most live bytes first.
    pub fn sites(&self) -> &[Site] {
        &self.parts.sites
    }

    /// One entry per living thread that has allocated or freed, most allocated bytes first; then one for the threads that
    /// have ended, and for what was counted elsewhere than in a thread's own counters. They add up to the
    /// [totals](Snapshot::totals), as the sites do. Empty for a snapshot without sites, such as one taken before start.
    ///
    /// A thread that began or ended just then is in the last row. Names come from the system, at each snapshot for at most
    /// 128 threads that have none yet; a thread that has changed its name may have the old one for some snapshots.
    ///
    /// ```
    /// # use heaptally_profile::{Counts, Snapshot, SnapshotParts, ThreadRow};
    /// # let counts = Counts { allocated_blocks: 1, allocated_bytes: 8, ..Counts::ZERO };
    /// # let threads = vec![ThreadRow::of_others(Counts::ZERO), ThreadRow::of_thread(7, "main".into(), counts)];
    /// # let snapshot = Snapshot::from_parts(SnapshotParts { threads, ..SnapshotParts::default() });
    /// for row in snapshot.threads() {
    ///     println!("{:>12} {}", row.counts().allocated_bytes, row.name());
    /// }
    /// assert_eq!(snapshot.threads()[0].name(), "main");
    /// ```
    pub fn threads(&self) -> &[ThreadRow] {
        &self.parts.threads
    }

    /// The sites added up by function, most live bytes first.
    pub fn by_function(&self) -> Vec<Row> {
        self.rows_by(Grouping::Function)
    }

    /// The sites added up by `grouping`, most live bytes first.
    pub fn rows_by(&self, grouping: Grouping) -> Vec<Row> {
        row::rows(self.sites(), grouping)
    }

    /// The first `n` functions by `rank`.
    pub fn top(&self, n: usize, rank: Rank) -> Vec<Row> {
        row::top(self.by_function(), n, rank)
    }

    /// The row of the function with exactly this text, as [`Row::function`] gives it; also of a
    /// pseudo-row such as `(no stack)`.
    pub fn function(&self, name: &str) -> Option<Row> {
        let sites = self.sites().iter().filter(|site| site.function() == name);
        row::rows(sites, Grouping::Function).into_iter().next()
    }

    /// What changed since an earlier snapshot of the same process, by function.
    pub fn since(&self, earlier: &Snapshot) -> Diff {
        self.since_by(earlier, Grouping::Function)
    }

    /// What changed since an earlier snapshot of the same process, by `grouping`.
    ///
    /// The difference keeps neither snapshot, only the names of its rows; by stack, also the tables
    /// that all snapshots share.
    ///
    /// # Examples
    ///
    /// ```
    /// use heaptally_profile::{Grouping, Rank};
    /// # use heaptally_profile::{Snapshot, SnapshotParts};
    /// # let (earlier, later) = [SnapshotParts::default(), SnapshotParts::default()].map(Snapshot::from_parts).into();
    /// let by_stack = later.since_by(&earlier, Grouping::Stack);
    /// for row in by_stack.top(3, Rank::AllocatedBytes) {
    ///     println!("{} bytes in {}", row.change().allocated_bytes, row.name());
    ///     for frame in row.frames() {
    ///         println!("  {:#x}", frame.ip);
    ///     }
    /// }
    /// # assert!(by_stack.rows().is_empty());
    /// ```
    pub fn since_by(&self, earlier: &Snapshot, grouping: Grouping) -> Diff {
        Diff::new(earlier, self, grouping)
    }

    /// The functions that may leak, by the history of the same process up to this snapshot.
    pub fn suspects(&self, history: &History) -> Suspects {
        Suspects::new(self, history)
    }

    /// What was lost so far.
    pub fn losses(&self) -> &Losses {
        &self.parts.losses
    }

    /// What heaptally itself costs.
    pub fn overhead(&self) -> &Overhead {
        &self.parts.overhead
    }

    /// How stacks were taken, since the process began.
    pub fn captures(&self) -> &Captures {
        &self.parts.captures
    }

    /// How good the program's symbols are.
    pub fn symbols(&self) -> SymbolQuality {
        self.parts.symbols
    }

    /// Resident bytes of the process at the time of the snapshot, where the system tells.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.parts.resident_bytes
    }

    /// The configured modules and whether each was met so far.
    pub fn modules(&self) -> &[ModuleUse] {
        &self.parts.modules
    }

    /// The configured modules of which no stack had a function: misspelled, or not run yet.
    pub fn unmatched_modules(&self) -> impl Iterator<Item = &str> {
        self.modules().iter().filter(|module| !module.matched).map(|module| &*module.name)
    }

    /// What else a reader must know, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.parts.notes
    }

    /// The program's heap in one line, for a log; what heaptally itself costs is named, not included.
    pub fn summary(&self) -> impl fmt::Display {
        Summary(self)
    }

    /// Checks conservation: whether the sites add up.
    ///
    /// The sums over all sites are never above the [totals](Snapshot::totals), no site has freed
    /// more than it allocated, and when nobody allocated or freed while the sites were read the
    /// sums equal the totals. The row of frees without a known allocation is exempt: the totals do
    /// not contain it. The sums over all [threads](Snapshot::threads) are the same.
    ///
    /// # Errors
    ///
    /// The first [`Violation`] found, which is a bug in heaptally.
    pub fn check(&self) -> Result<(), Violation> {
        check::check(self)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{counts, site, site_at, snapshot};
    use crate::stack::StackNode;
    use crate::{Frame, Line};

    use super::*;

    fn names(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(Row::function).collect()
    }

    #[test]
    fn sites_are_sorted_by_live_then_allocated_bytes_then_name() {
        let snapshot = snapshot(vec![
            site("app::c", counts(1, 10, 0, 0)),
            site("app::b", counts(1, 10, 0, 0)),
            site("app::busy", counts(3, 30, 2, 20)),
            site("app::big", counts(1, 50, 0, 0)),
            Site::pseudo(SiteKind::UnknownFrees, counts(0, 0, 1, 5)),
        ]);
        let functions: Vec<&str> = snapshot.sites().iter().map(Site::function).collect();
        assert_eq!(functions, ["app::big", "app::busy", "app::b", "app::c", "(frees without a known allocation)"]);
    }

    #[test]
    fn sites_of_one_function_are_added_up() {
        let snapshot = snapshot(vec![
            site_at("app::insert", 1, 10, counts(2, 20, 1, 10)),
            site_at("app::insert", 2, 20, counts(4, 80, 1, 20)),
            site_at("app::other", 3, 30, counts(1, 64, 0, 0)),
            site_at("app::insert", 4, 40, counts(1, 5, 1, 5)),
        ]);
        let rows = snapshot.by_function();
        assert_eq!(names(&rows), ["app::insert", "app::other"]);
        assert_eq!((rows[0].counts(), rows[0].sites()), (counts(7, 105, 3, 35), 3));
        assert_eq!((rows[0].counts().live_blocks(), rows[0].counts().live_bytes()), (4, 70));
        assert_eq!((rows[1].counts(), rows[1].sites()), (counts(1, 64, 0, 0), 1));
        assert_eq!((rows[0].kind(), rows[0].module()), (SiteKind::Module, Some("app")));
        assert_eq!(rows[0].location().and_then(|location| location.line), Some(20));
    }

    #[test]
    fn a_row_takes_the_location_that_allocated_most_where_live_bytes_are_equal() {
        let snapshot = snapshot(vec![
            site_at("app::f", 1, 10, counts(1, 8, 0, 0)),
            site_at("app::f", 2, 20, counts(3, 24, 2, 16)),
        ]);
        assert_eq!(snapshot.by_function()[0].location().and_then(|location| location.line), Some(20));
    }

    #[test]
    fn a_function_named_like_a_pseudo_row_is_a_row_of_its_own() {
        let snapshot =
            snapshot(vec![site("(paused)", counts(1, 8, 0, 0)), Site::pseudo(SiteKind::Paused, counts(1, 4, 0, 0))]);
        let kinds: Vec<SiteKind> = snapshot.by_function().iter().map(Row::kind).collect();
        assert_eq!(kinds, [SiteKind::Module, SiteKind::Paused]);
    }

    #[test]
    fn each_rank_puts_its_own_number_first() {
        let snapshot = snapshot(vec![
            site("live_bytes", counts(1, 900, 0, 0)),
            site("live_blocks", counts(50, 100, 0, 0)),
            site("allocated_bytes", counts(10, 5000, 10, 5000)),
            site("allocated_blocks", counts(400, 400, 400, 400)),
        ]);
        let first = |rank| snapshot.top(1, rank)[0].function().to_owned();
        assert_eq!(first(Rank::LiveBytes), "live_bytes");
        assert_eq!(first(Rank::LiveBlocks), "live_blocks");
        assert_eq!(first(Rank::AllocatedBytes), "allocated_bytes");
        assert_eq!(first(Rank::AllocatedBlocks), "allocated_blocks");
        let by_blocks = snapshot.top(3, Rank::AllocatedBlocks);
        assert_eq!(names(&by_blocks), ["allocated_blocks", "live_blocks", "allocated_bytes"]);
        assert_eq!(snapshot.top(9, Rank::LiveBytes).len(), 4);
    }

    #[test]
    fn a_function_is_found_by_its_exact_text() {
        let snapshot = snapshot(vec![
            site_at("app::f", 1, 10, counts(1, 8, 0, 0)),
            site_at("app::f", 2, 20, counts(1, 16, 0, 0)),
            site("app::ff", counts(1, 1, 0, 0)),
        ]);
        assert_eq!(snapshot.function("app::f").map(|row| row.counts()), Some(counts(2, 24, 0, 0)));
        assert!(snapshot.function("app").is_none());
    }

    #[test]
    fn modules_that_matched_nothing_are_named() {
        let module = |name: &str, matched| ModuleUse { name: name.into(), matched };
        let parts =
            SnapshotParts { modules: [module("app", true), module("ap", false)].into(), ..SnapshotParts::default() };
        assert_eq!(Snapshot::from_parts(parts).unmatched_modules().collect::<Vec<_>>(), ["ap"]);
    }

    /// Without any sharing between the stacks, and with as many functions as sites: real stacks
    /// share most.
    #[test]
    fn a_hundred_thousand_sites_with_thirty_frames_stay_under_64_mib() {
        const SITES: usize = 100_000;
        let nodes = SITES * 30 * size_of::<StackNode>();
        let frame = size_of::<Frame>() + 16 + size_of::<Line>() + 16 + 100;
        let owner = 16 + size_of::<crate::Owner>();
        let bytes = nodes + SITES * (size_of::<Site>() + frame + owner);
        assert_eq!((size_of::<StackNode>(), size_of::<Frame>(), size_of::<Line>()), (8, 32, 40));
        assert!(bytes < 64 << 20, "{bytes} bytes");
    }
}
