//! The handle to running tracking, and the functions beside it.

use std::time::Duration;

use crate::every::{self, Every, Tick};
use crate::{
    Config, Counts, History, ModuleError, Peak, ProcessRegion, Region, Snapshot, StartError, Suspects, SymbolTable,
    Totals, engine,
};

/// Running tracking. A handle: copies are the same, dropping it stops nothing.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    _started: (),
}

/// Starts charging allocations to their call stacks. Once in the life of the process; there is no stop, only
/// [`Tally::pause`].
///
/// Blocks that are live already are in the row "(before start)" and leave it when they are freed.
///
/// # Errors
///
/// See [`StartError`]. After an error nothing has changed, and start may be called again.
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
///
/// # fn main() {
/// if let Err(error) = heaptally::start(heaptally::config!()) {
///     eprintln!("heaptally: {error}");
/// }
/// println!("{}", heaptally::snapshot());
/// assert_eq!(heaptally::snapshot().check(), Ok(()));
/// # }
/// ```
pub fn start(config: Config) -> Result<Tally, StartError> {
    config.check()?;
    engine::start(config)?;
    Ok(Tally { _started: () })
}

/// The running tracking, if it was started.
pub fn tally() -> Option<Tally> {
    engine::is_running().then_some(Tally { _started: () })
}

/// Everything allocated and freed so far, process-wide: the same as
/// [`TallyAlloc::totals`](crate::TallyAlloc::totals). Allocates nothing.
pub fn totals() -> Totals {
    engine::totals()
}

/// The heap by allocation site, now. Before [`start`], totals and the one row "(before start)".
///
/// Pauses nobody. Blocks the caller until the aggregator has symbolized what is new: milliseconds as a rule, seconds
/// the first time in a large program with debug information. In an async program call it through `spawn_blocking`:
///
/// ```no_run
/// # async fn f() -> Result<(), tokio::task::JoinError> {
/// let snapshot = tokio::task::spawn_blocking(heaptally::snapshot).await?;
/// # Ok(()) }
/// ```
pub fn snapshot() -> Snapshot {
    engine::snapshot()
}

/// Runs `f` and says what the calling thread allocated and freed meanwhile. Exact, works without [`start`], costs a
/// few nanoseconds. A [`Region`] does the same for a scope that is no closure.
///
/// Other threads' allocations are not counted, nor those of signal handlers that interrupt the allocator. A thread
/// that is being torn down, that came when 65,536 others were alive, or that found no memory for them, has no counters of
/// its own: what it allocates meanwhile is not in the counts.
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
///
/// # fn main() {
/// let (sorted, counts) = heaptally::measure(|| {
///     let mut numbers = vec![3_u64, 1, 2];
///     numbers.sort_unstable();
///     numbers
/// });
/// assert_eq!((counts.allocated_blocks, counts.allocated_bytes, counts.freed_blocks), (1, 24, 0));
/// # drop(sorted);
/// # }
/// ```
pub fn measure<R>(f: impl FnOnce() -> R) -> (R, Counts) {
    let region = Region::new();
    let result = f();
    (result, region.change())
}

/// Runs `f` and says what all threads of the program allocated and freed meanwhile, without the blocks of heaptally
/// itself. Works without [`start`], allocates nothing; how exact it is and what it costs is told at [`ProcessRegion`].
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
///
/// # fn main() {
/// let (kept, counts) =
///     heaptally::measure_process(|| std::thread::spawn(|| Vec::<u8>::with_capacity(1_000_000)).join());
/// assert!(counts.allocated_bytes >= 1_000_000 && counts.live_bytes() >= 1_000_000);
/// # drop(kept);
/// # }
/// ```
pub fn measure_process<R>(f: impl FnOnce() -> R) -> (R, Counts) {
    let region = ProcessRegion::new();
    let result = f();
    (result, region.change())
}

impl Tally {
    /// The heap by allocation site, now: see [`snapshot`].
    pub fn snapshot(&self) -> Snapshot {
        engine::snapshot()
    }

    /// The most bytes of the program that were live at once since tracking was started, and who held them.
    ///
    /// The number is kept up while the program runs, and is [bounded in its error](crate::PeakBytes::error_bytes). The
    /// rows are those of a moment close to it, when the aggregator read them: at the peak itself if the heap stays high for
    /// a few milliseconds, and how close is in [`Peak::closeness`]. Blocks as [`snapshot`] does.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # let tally = heaptally::tally().unwrap();
    /// println!("{}", tally.peak());
    /// ```
    pub fn peak(&self) -> Peak {
        engine::peak()
    }

    /// The heap over time: what the aggregator has recorded since [`start`], a point each second unless
    /// [`Config::history_period`] says otherwise; empty with [`Config::without_history`].
    ///
    /// A copy, made by the aggregator in some microseconds, for which the caller waits as for a [`snapshot`]; nothing is
    /// read or symbolized for it. It shares the sites of its points with the history that goes on, so it takes 46 KB of
    /// its own, and up to 4.1 MB once these have been thinned out there; charged to "(heaptally itself)" until it is
    /// dropped. A forked child begins with an empty one.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # let tally = heaptally::tally().unwrap();
    /// let history = tally.history();
    /// if let Some(change) = history.since(Duration::from_secs(86_400)) {
    ///     println!("{:+} bytes in {:?}", change.program().live_bytes(), change.elapsed());
    /// }
    /// ```
    pub fn history(&self) -> History {
        engine::history()
    }

    /// The functions that may leak: those that have grown steadily up to now, by the history. Print it for a table with
    /// the evidence; see [`Suspects`].
    ///
    /// Takes a snapshot, see [`snapshot`], and the history of the same moment. There is nothing to say before the history
    /// has 8 points over 8 s.
    ///
    /// # Examples
    ///
    /// ```
    /// #[global_allocator]
    /// static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
    ///
    /// # fn main() -> Result<(), heaptally::StartError> {
    /// let tally = heaptally::start(heaptally::config!())?;
    /// println!("{}", tally.suspects());
    /// assert!(tally.suspects().is_too_short());
    /// # Ok(()) }
    /// ```
    pub fn suspects(&self) -> Suspects {
        let (snapshot, history) = engine::snapshot_with_history();
        engine::internal(|| snapshot.suspects(&history))
    }

    /// Charges new allocations to the row "(paused)" and takes no more stacks, until [`Tally::resume`]. Frees are
    /// counted where they belong.
    pub fn pause(&self) {
        engine::set_paused(true);
    }

    /// Takes stacks again.
    pub fn resume(&self) {
        engine::set_paused(false);
    }

    /// Replaces the modules. Stacks are kept whole, so the past is charged anew as well.
    ///
    /// # Errors
    ///
    /// When a name cannot be a module path, or there is no aggregator to tell; then nothing changes.
    pub fn set_modules<I: IntoIterator<Item: Into<String>>>(&self, names: I) -> Result<(), ModuleError> {
        let modules: Vec<String> = names.into_iter().map(Into::into).collect();
        engine::set_modules(modules)
    }

    /// The table of counts by function that the aggregator keeps up to date with every snapshot; read it at any time.
    pub fn symbol_table(&self) -> SymbolTable {
        engine::symbol_table()
    }

    /// Calls `subscriber` with a fresh snapshot every `period`, on a thread of its own, until the returned [`Every`]
    /// is dropped.
    ///
    /// Takes a snapshot itself, which the first beat is compared with, and blocks as long as that does: see [`snapshot`].
    ///
    /// The subscriber's allocations are the program's. A panic in it is caught, after the panic hook has reported it,
    /// and the next beat is delivered. One that takes longer than the period skips beats and is told how many.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # let tally = heaptally::tally().unwrap();
    /// tally.every(Duration::from_secs(60), |tick| println!("{}", tick.since_last.summary())).detach();
    /// ```
    pub fn every(&self, period: Duration, subscriber: impl FnMut(&Tick<'_>) + Send + 'static) -> Every {
        every::subscribe(period, subscriber)
    }
}
