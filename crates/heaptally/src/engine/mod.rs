//! Everything behind the public functions, on the platform that has all of it: Linux on x86-64 with glibc.
//!
//! `portable.rs` has the same functions for the others. Who runs what: [`forward`] and [`thread`] on every thread
//! inside the allocator; [`aggregator`], [`collector`] and what they use on the aggregator's thread; the functions
//! below on whoever calls them.

mod aggregator;
mod collector;
mod counts;
mod elf_symbols;
mod fork;
mod forward;
mod function_path;
mod installed;
mod mappings;
mod module_filter;
#[cfg(any(test, heaptally_fuzz))]
pub(crate) mod name_properties;
mod node_index;
mod own_cost;
mod owners;
mod peak_watch;
mod recorder;
mod reply;
mod stack_store;
mod symbolizer;
mod thread;
mod threads;
mod ticker;

use std::sync::atomic::{AtomicBool, Ordering};

use heaptally_capture::{Entry, MIN_RING_BYTES, Mode, PROCESS, Reuse, Tick, census};
use heaptally_profile::{Counts, History, HistoryLimits, Peak, Site, SiteKind, Snapshot, SnapshotParts, Totals};

use crate::{Config, ModuleError, OnMismatch, StartError, SymbolTable, TraceReuse};
use aggregator::Aggregator;
use module_filter::ModuleFilter;
use stack_store::STORE;

/// Whether some thread has begun to start tracking; given back when that fails.
static CLAIMED: AtomicBool = AtomicBool::new(false);
/// Whether tracking was started.
static RUNNING: AtomicBool = AtomicBool::new(false);

pub(crate) fn start(config: Config) -> Result<(), StartError> {
    if !installed::is_installed() {
        return Err(StartError::NotInstalled);
    }
    if CLAIMED.swap(true, Ordering::AcqRel) {
        return Err(StartError::AlreadyRunning);
    }
    let started = internal(|| launch(config));
    if started.is_err() {
        CLAIMED.store(false, Ordering::Release);
    }
    started
}

fn launch(config: Config) -> Result<(), StartError> {
    let filter = ModuleFilter::new(&config.modules)?;
    if !installed::capture_works() {
        return Err(StartError::Capture);
    }
    // A child that was forked before now was not told of it.
    if let Some(own) = thread::state() {
        census::renew(own);
    }
    PROCESS.unwinder.prepare();
    PROCESS.unwinder.set_reuse(match config.trace_reuse {
        TraceReuse::On if config.verify.is_none() => Reuse::On,
        TraceReuse::On => Reuse::WithoutShortcut,
        TraceReuse::Off => Reuse::Off,
    });
    if let Some((every, on_mismatch)) = config.verify {
        PROCESS.verification.set(every.get(), on_mismatch == OnMismatch::Abort);
    }
    PROCESS.tick.advance(Tick::FIRST);
    PROCESS.peak.begin();
    PROCESS.hash_key.randomize();
    PROCESS.max_depth.store(config.max_depth as u32, Ordering::Relaxed);
    PROCESS.ring_limit_bytes.store(config.ring_bytes.max(MIN_RING_BYTES), Ordering::Relaxed);
    PROCESS.segments.set_limit_bytes(config.all_rings_bytes);
    PROCESS.stacks.set_limits(config.max_stacks, config.max_short_stacks);
    STORE.set_limit(config.max_stack_nodes);
    PROCESS.arena.set_limit_bytes(config.arena_bytes);
    PROCESS.pages.set_limit_bytes(config.counter_bytes);
    fork::watch().map_err(StartError::ForkHandler)?;
    Aggregator::launch(config, filter).map_err(StartError::Thread)?;
    PROCESS.mode.set(Mode::On);
    PROCESS.registry.open_gates();
    // Last: who sees it may pause.
    RUNNING.store(true, Ordering::Release);
    Ok(())
}

/// Finishes or takes back, in a forked child, what the parent's thread in `start` was about to do: it is not here.
fn settle_start() {
    let on = PROCESS.mode.get() != Mode::Off;
    if on {
        PROCESS.registry.open_gates();
    } else {
        Aggregator::forget();
    }
    RUNNING.store(on, Ordering::Release);
    CLAIMED.store(on, Ordering::Release);
}

pub(crate) fn is_running() -> bool {
    RUNNING.load(Ordering::Acquire)
}

pub(crate) fn totals() -> Totals {
    counts::totals()
}

/// The totals without the blocks of heaptally itself, as far as it was at rest while they were read.
pub(crate) fn program_counts() -> Counts {
    counts::program()
}

/// What the calling thread has counted since it began.
pub(crate) fn thread_counts() -> Counts {
    thread::counts(thread::current(Entry::here()))
}

pub(crate) fn snapshot() -> Snapshot {
    if !is_running() {
        return totals_only(SiteKind::BeforeStart, Vec::new());
    }
    let snapshot = internal(|| Aggregator::current().and_then(Aggregator::snapshot));
    snapshot.unwrap_or_else(|| {
        totals_only(
            SiteKind::NoStack,
            vec![
                "no sites: the aggregator's thread could not be created or has failed; look at the limit of threads"
                    .to_owned(),
            ],
        )
    })
}

pub(crate) fn peak() -> Peak {
    let peak = internal(|| Aggregator::current().and_then(Aggregator::peak));
    peak.unwrap_or_else(|| Peak::new(peak_watch::peak_bytes(), Snapshot::from_parts(SnapshotParts::default())))
}

pub(crate) fn history() -> History {
    let history = internal(|| Aggregator::current().and_then(Aggregator::history));
    history.unwrap_or(History::new(HistoryLimits::DEFAULT))
}

pub(crate) fn snapshot_with_history() -> (Snapshot, History) {
    let both = internal(|| Aggregator::current().and_then(Aggregator::snapshot_with_history));
    both.unwrap_or_else(|| (snapshot(), History::new(HistoryLimits::DEFAULT)))
}

pub(crate) fn set_paused(paused: bool) {
    PROCESS.mode.set(if paused { Mode::Paused } else { Mode::On });
    // Whoever finds its gate open reads the mode.
    PROCESS.registry.open_gates();
}

pub(crate) fn set_modules(modules: Vec<String>) -> Result<(), ModuleError> {
    let filter = ModuleFilter::new(&modules)?;
    let changed = internal(|| Aggregator::current().and_then(|aggregator| aggregator.set_modules(modules, filter)));
    changed.ok_or(ModuleError::NoAggregator)
}

pub(crate) fn symbol_table() -> SymbolTable {
    internal(|| Aggregator::current().map_or_else(SymbolTable::new, Aggregator::symbol_table))
}

/// Runs `f` with the calling thread's allocations charged to "(heaptally itself)". Not for code of the program.
pub(crate) fn internal<R>(f: impl FnOnce() -> R) -> R {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            thread::leave_internal();
        }
    }
    thread::enter_internal();
    let _guard = Guard;
    f()
}

/// A snapshot whose one row has everything: exact totals, nothing told apart.
fn totals_only(kind: SiteKind, notes: Vec<String>) -> Snapshot {
    let totals = totals();
    let unknown_frees = counts::unknown_frees();
    let mut sites = vec![Site::pseudo(kind, totals.counts())];
    if !unknown_frees.is_zero() {
        sites.push(Site::pseudo(SiteKind::UnknownFrees, unknown_frees));
    }
    Snapshot::from_parts(SnapshotParts {
        totals,
        totals_before: Some(totals),
        sites,
        losses: own_cost::losses(unknown_frees),
        overhead: own_cost::overhead(Counts::ZERO, totals),
        captures: own_cost::captures(),
        resident_bytes: own_cost::resident_bytes(),
        notes,
        ..SnapshotParts::default()
    })
}
