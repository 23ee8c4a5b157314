//! What `start` is told.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::module_name::normalize;
use crate::{HistoryLimits, StartError};

/// What to track, and how much memory to spend on it.
///
/// # Examples
///
/// ```
/// use heaptally::Config;
///
/// let config = Config::new().modules(["my_service", "my_service_core::cache"]).max_depth(128);
/// # let _ = config;
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) modules: Vec<String>,
    pub(crate) max_depth: usize,
    pub(crate) symbolize: Symbolize,
    pub(crate) max_stacks: u32,
    pub(crate) max_short_stacks: u32,
    pub(crate) max_stack_nodes: u32,
    pub(crate) ring_bytes: usize,
    pub(crate) all_rings_bytes: usize,
    pub(crate) counter_bytes: usize,
    pub(crate) arena_bytes: usize,
    /// `None` for no history.
    pub(crate) history: Option<HistoryLimits>,
    pub(crate) history_period: Duration,
    pub(crate) trace_reuse: TraceReuse,
    pub(crate) verify: Option<(NonZeroU32, OnMismatch)>,
}

impl Config {
    /// The deepest stack that is kept, and the default: 512 frames.
    pub const MAX_DEPTH: usize = 512;

    /// No modules: a site is charged to the innermost function outside the standard library.
    pub fn new() -> Self {
        Self {
            modules: Vec::new(),
            max_depth: Self::MAX_DEPTH,
            symbolize: Symbolize::Full,
            max_stacks: 1 << 20,
            max_short_stacks: 1 << 20,
            max_stack_nodes: 1 << 24,
            ring_bytes: 48 << 20,
            all_rings_bytes: 256 << 20,
            counter_bytes: 256 << 20,
            arena_bytes: 16 << 30,
            history: Some(HistoryLimits::DEFAULT),
            history_period: Duration::from_secs(1),
            trace_reuse: TraceReuse::On,
            verify: None,
        }
    }

    /// Charges every site to its innermost function that belongs to one of these modules.
    ///
    /// A module is a crate (`my_app`) or a path in one (`my_app::cache`). Whole segments count: `my_app` is not
    /// `my_app_utils`. Hyphens read as underscores. Adds to the names given before, [`config!`](crate::config)'s
    /// included. Names are checked by [`start`](crate::start).
    #[must_use]
    pub fn modules<I: IntoIterator<Item: Into<String>>>(mut self, names: I) -> Self {
        self.modules.extend(names.into_iter().map(Into::into));
        self
    }

    /// These modules, unless some were given before, for instance by `HEAPTALLY_MODULES` (see [`Config::from_env`]).
    #[must_use]
    pub fn default_modules<I: IntoIterator<Item: Into<String>>>(self, names: I) -> Self {
        if self.modules.is_empty() { self.modules(names) } else { self }
    }

    /// Keeps the innermost frames of a stack, `frames` of them at most, 1 to [`Config::MAX_DEPTH`]; with any other
    /// number, [`start`](crate::start) returns [`StartError::Depth`]. Of a deeper stack at least half as many are kept,
    /// so that one that grows and shrinks around the limit is not cut anew with each call; how many depends on the
    /// stacks before it. Stacks that were cut are counted in
    /// [`Losses::truncated_stacks`](crate::Losses::truncated_stacks).
    #[must_use]
    pub fn max_depth(mut self, frames: usize) -> Self {
        self.max_depth = frames;
        self
    }

    /// Whether addresses get names.
    #[must_use]
    pub fn symbolize(mut self, symbolize: Symbolize) -> Self {
        self.symbolize = symbolize;
        self
    }

    /// Keeps this many stacks whole; default 1,048,576, least 0. Of further ones the innermost 16 frames are kept under
    /// "(truncated)", so that stacks which end alike share a row and, as a rule, its owner; see
    /// [`Config::max_short_stacks`]. More than 16,777,200 are taken for as many.
    #[must_use]
    pub fn max_stacks(mut self, stacks: u32) -> Self {
        self.max_stacks = stacks;
        self
    }

    /// Keeps this many more stacks once [`Config::max_stacks`] are known, by their innermost 16 frames; default
    /// 1,048,576, least 0. Blocks of further ones are in the row "(overflow)". Both together are 16,777,200 at most.
    #[must_use]
    pub fn max_short_stacks(mut self, stacks: u32) -> Self {
        self.max_short_stacks = stacks;
        self
    }

    /// Lets all stacks together have this many nodes: frames, of which stacks with the same callers share those. Default
    /// 16,777,216, least 0; more than 33,554,431 are taken for as many. When three quarters are used, further stacks are
    /// kept by their innermost 16 frames; blocks of those that find no node are in the row "(overflow)". A node takes 16
    /// bytes of heaptally's tables, and up to 19 of its heap.
    #[must_use]
    pub fn max_stack_nodes(mut self, nodes: u32) -> Self {
        self.max_stack_nodes = nodes;
        self
    }

    /// Lets each thread hold this many bytes of new stacks that the aggregator has not fetched yet; default 48 MiB, which
    /// a burst of 100,000 stacks of 40 new frames each needs, and little else comes near. Less than 32 KiB are taken for
    /// as many. Whole stacks may fill three quarters of it. A stack that finds no room is kept by its innermost 16 frames
    /// until there is room again; its blocks are in the row "(overflow)" only while these find no room either.
    #[must_use]
    pub fn ring_bytes(mut self, bytes: usize) -> Self {
        self.ring_bytes = bytes;
        self
    }

    /// Lets all threads together hold this many bytes of that; default 256 MiB, least 32 KiB. Each thread that has ever
    /// met a new stack has 8 KiB of it for itself. Beyond it as with [`Config::ring_bytes`].
    #[must_use]
    pub fn all_rings_bytes(mut self, bytes: usize) -> Self {
        self.all_rings_bytes = bytes;
        self
    }

    /// Lets all threads together take this many bytes for counters of their own; default 256 MiB, least 0. Beyond it
    /// they share counters: as exact, slower.
    #[must_use]
    pub fn counter_bytes(mut self, bytes: usize) -> Self {
        self.counter_bytes = bytes;
        self
    }

    /// Lets heaptally's own tables take this many bytes of address space, in pieces of 1 MiB: thread states, stacks,
    /// counters, rings and rules. Default 16 GiB, which the other bounds together never come to: they are 1.4 GiB, and 147
    /// KiB for each thread of the most that have lived at once. What is mapped when tracking starts is used in any case,
    /// so the least is about 1 MiB. When three quarters are used, further stacks are kept by their innermost 16 frames,
    /// and threads get no more counters of their own; at the limit new threads get no state, and blocks of new stacks are
    /// in the row "(overflow)". The heap of the aggregator is not among them: it follows from the number of stacks and
    /// nodes.
    #[must_use]
    pub fn arena_bytes(mut self, bytes: usize) -> Self {
        self.arena_bytes = bytes;
        self
    }

    /// How much of the heap over time is kept; default [`HistoryLimits::DEFAULT`], 4.2 MB at most. See
    /// [`Tally::history`](crate::Tally::history).
    ///
    /// ```
    /// use heaptally::{Config, HistoryLimits};
    ///
    /// let config = Config::new().history(HistoryLimits { sites: 1000, ..HistoryLimits::DEFAULT });
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn history(mut self, limits: HistoryLimits) -> Self {
        self.history = Some(limits);
        self
    }

    /// How often a point of the history is recorded; default 1 s. Less than [`TickNumber::LENGTH`] is taken for as much,
    /// and a point is recorded at the first tick at which it is due.
    ///
    /// Recording reads the counters of all stacks, and takes no more than 0.5 % of a processor: the next point is due
    /// when 200 times the processor time of the last one has passed, if that is later. Points that were missed are not made
    /// up for.
    ///
    /// [`TickNumber::LENGTH`]: crate::TickNumber::LENGTH
    #[must_use]
    pub fn history_period(mut self, period: Duration) -> Self {
        self.history_period = period;
        self
    }

    /// Keeps no history: nothing is recorded, and there are no suspects.
    #[must_use]
    pub fn without_history(mut self) -> Self {
        self.history = None;
        self
    }

    /// Whether a capture starts from what is left of the thread's previous one. To measure what that is worth, and to
    /// look for a fault in it; stacks are the same either way.
    #[must_use]
    pub fn trace_reuse(mut self, reuse: TraceReuse) -> Self {
        self.trace_reuse = reuse;
        self
    }

    /// Compares every `every`-th capture of each thread, frame by frame, with the platform's unwinder, which takes
    /// microseconds. Both numbers are in [`Captures`](crate::Captures). Not for stacks that were cut at the limit of
    /// frames, of which only the part that was kept is compared.
    #[must_use]
    pub fn verify_captures(mut self, every: NonZeroU32, on_mismatch: OnMismatch) -> Self {
        self.verify = Some((every, on_mismatch));
        self
    }

    /// Everything that can be wrong with a configuration.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        self.modules.iter().try_for_each(|name| normalize(name).map(drop))?;
        if !(1..=Self::MAX_DEPTH).contains(&self.max_depth) {
            return Err(StartError::Depth(self.max_depth));
        }
        Ok(())
    }
}

/// Whether addresses are turned into functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Symbolize {
    /// Functions, inlined functions, files and lines, as far as the program has them.
    #[default]
    Full,
    /// Addresses, loaded files and their build ids only, to be symbolized elsewhere.
    Off,
}

/// Whether captures reuse the thread's previous one; see [`Config::trace_reuse`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TraceReuse {
    /// Only what has changed is unwound.
    #[default]
    On,
    /// Every frame is unwound every time.
    Off,
}

/// What happens when a capture differs from the platform's unwinder; see [`Config::verify_captures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnMismatch {
    /// It is counted, and the platform's stack is used.
    Count,
    /// Both stacks are written to standard error, and the process is aborted: for tests.
    Abort,
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// A [`Config`] whose module is the crate in which this is written.
///
/// # Examples
///
/// ```
/// let config = heaptally::config!().max_depth(64);
/// # let _ = config;
/// ```
#[macro_export]
macro_rules! config {
    () => {
        $crate::Config::new().modules(::core::module_path!().split("::").next())
    };
}
