//! The background thread, and how others ask it for things.
//!
//! One thread named `heaptally`, all signals blocked. It sleeps until the doorbell rings, because a ring has filled up a
//! little or somebody wants a snapshot, or until the next tick. Its priority is that of the others: who asks waits for it, and without privileges a
//! lowered one could not be raised again. What is symbolized is symbolized here, on a stack of known size, under no
//! lock of ours; who asks waits for the answer. Idle it only ticks, four times a second, and records the history.
//!
//! A forked child has no such thread. It leaks the parent's object, whose locks may be held for ever by threads that
//! do not exist here, and starts another at its first snapshot, over the same store and rings, with an empty history.
#![allow(unsafe_code, reason = "leaks itself, and is reached through an atomic pointer")]

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{io, mem, ptr, thread};

use heaptally_capture::PROCESS;
use heaptally_profile::{History, Peak, Snapshot};

use super::collector::Collector;
use super::module_filter::ModuleFilter;
use super::recorder::Recorder;
use super::reply::{Promise, promise};
use super::symbolizer::Symbolizer;
use super::{fork, internal};
use crate::{Config, SymbolTable};

/// Of the symbolizer's parser; std's default for threads, stated because it matters here.
const STACK_BYTES: usize = 2 << 20;

/// What a snapshot says in a child that cannot symbolize.
const NAMES_LOST: &str = "addresses only: this process was forked while a thread of its parent held a lock of the loader \
                          or of the backtrace crate; take the snapshot in the parent";

/// The aggregator of this process; of the parent, until a forked child wants one.
static CURRENT: AtomicPtr<Aggregator> = AtomicPtr::new(ptr::null_mut());

/// See the module's head. Lives for ever.
pub(crate) struct Aggregator {
    /// Which fork it belongs to.
    generation: u32,
    requests: Mutex<VecDeque<Request>>,
    /// Kept up to date by the collector, read by anyone.
    table: SymbolTable,
    /// What it was configured with, kept for the aggregator of a forked child.
    config: Mutex<Config>,
}

enum Request {
    Snapshot(Promise<Snapshot>),
    Peak(Promise<Peak>),
    History(Promise<History>),
    SnapshotWithHistory(Promise<(Snapshot, History)>),
    SetFilter(ModuleFilter, Promise<()>),
}

impl Aggregator {
    /// Starts the aggregator of this process.
    pub(crate) fn launch(config: Config, filter: ModuleFilter) -> io::Result<()> {
        let (aggregator, go) = Self::spawn(config, filter, Vec::new())?;
        aggregator.install(ptr::null_mut(), &go);
        Ok(())
    }

    /// The running one; started anew in a forked child. `None` when there is none and no thread can be had.
    pub(crate) fn current() -> Option<&'static Self> {
        let current = CURRENT.load(Ordering::Acquire);
        // SAFETY: null, or an aggregator that was leaked by `install`.
        let aggregator = unsafe { current.as_ref() }?;
        if aggregator.generation == fork::generation() {
            return Some(aggregator);
        }
        aggregator.restart_in_child(current)
    }

    /// In a forked child whose parent was in the middle of `start`: the aggregator has no thread and nobody's settings.
    pub(crate) fn forget() {
        CURRENT.store(ptr::null_mut(), Ordering::Release);
    }

    /// A snapshot of now; `None` when the aggregator failed.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        self.ask(Request::Snapshot)
    }

    /// The peak so far; `None` when the aggregator failed.
    pub(crate) fn peak(&self) -> Option<Peak> {
        self.ask(Request::Peak)
    }

    /// A copy of the history; `None` when the aggregator failed.
    pub(crate) fn history(&self) -> Option<History> {
        self.ask(Request::History)
    }

    /// A snapshot of now, and the history up to it; `None` when the aggregator failed.
    pub(crate) fn snapshot_with_history(&self) -> Option<(Snapshot, History)> {
        self.ask(Request::SnapshotWithHistory)
    }

    pub(crate) fn symbol_table(&self) -> SymbolTable {
        self.table.clone()
    }

    /// `None`, and nothing changed, when the aggregator failed.
    pub(crate) fn set_modules(&self, modules: Vec<String>, filter: ModuleFilter) -> Option<()> {
        self.ask(|reply| Request::SetFilter(filter, reply))?;
        lock(&self.config).modules = modules;
        Some(())
    }

    fn ask<T>(&self, request: impl FnOnce(Promise<T>) -> Request) -> Option<T> {
        let (promise, answer) = promise();
        lock(&self.requests).push_back(request(promise));
        PROCESS.doorbell.ring();
        answer.wait()
    }

    /// An aggregator that nobody knows yet, and what its thread waits for. Dropping that ends the thread.
    fn spawn(config: Config, filter: ModuleFilter, notes: Vec<String>) -> io::Result<(&'static Self, SyncSender<()>)> {
        let symbolizer =
            if notes.is_empty() { Symbolizer::new(config.symbolize) } else { Symbolizer::addresses_only() };
        let generation = fork::generation();
        let recorder = Recorder::new(config.history, config.history_period);
        let aggregator: &'static Self = Box::leak(Box::new(Self {
            generation,
            requests: Mutex::default(),
            table: SymbolTable::new(),
            config: Mutex::new(config),
        }));
        let (go, installed) = sync_channel(1);
        // For the life of the thread: whatever it allocates is heaptally's.
        let body = move || {
            internal(|| {
                if installed.recv().is_ok() {
                    aggregator.run(Collector::new(filter, symbolizer, aggregator.symbol_table(), recorder, notes));
                }
            });
        };
        let spawned = with_signals_blocked(|| thread::Builder::new().stack_size(STACK_BYTES).spawn(body));
        if let Err(error) = spawned {
            // SAFETY: the thread was not made, so nobody else has the reference.
            drop(unsafe { Box::from_raw(ptr::from_ref(aggregator).cast_mut()) });
            return Err(error);
        }
        Ok((aggregator, go))
    }

    /// Makes it the process's, if `expected` still is, and lets its thread go; otherwise returns the one that is. Two
    /// threads must never wait at the one doorbell: each would take rings that were meant for the other.
    fn install(&'static self, expected: *mut Self, go: &SyncSender<()>) -> &'static Self {
        let this = ptr::from_ref(self).cast_mut();
        match CURRENT.compare_exchange(expected, this, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                // There is room for it, and the thread is waiting.
                _ = go.send(());
                self
            }
            // SAFETY: what replaced `expected` is a leaked aggregator; it is never null again.
            Err(winner) => unsafe { &*winner },
        }
    }

    fn restart_in_child(&self, expected: *mut Self) -> Option<&'static Self> {
        // Held for a copy at most, but perhaps at the instant of the fork: then what `start` was given is not to be
        // had.
        let config = self.config.try_lock().map_or_else(|_| Config::new(), |config| config.clone());
        let filter = ModuleFilter::new(&config.modules).ok()?;
        let mut notes = Vec::new();
        if fork::symbols_lost() || !fork::symbols_answer() {
            notes.push(NAMES_LOST.to_owned());
        }
        let (aggregator, go) = Self::spawn(config, filter, notes).ok()?;
        Some(aggregator.install(expected, &go))
    }

    fn run(&self, mut collector: Collector) {
        name_thread();
        loop {
            PROCESS.doorbell.wait(collector.ticker().advance());
            let requests = mem::take(&mut *lock(&self.requests));
            // A panic of ours drops the promises: who asked is told, and the next request is served.
            _ = catch_unwind(AssertUnwindSafe(|| {
                collector.drain();
                collector.watch_peak();
                requests.into_iter().for_each(|request| serve(&mut collector, request));
                collector.record();
                collector.release_caches();
            }));
        }
    }
}

/// Not by std's builder: std copies that name on the new thread, in a block that would be charged to the program.
fn name_thread() {
    // SAFETY: the name is a C string of less than 16 bytes, which is copied.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), c"heaptally".as_ptr()) };
}

fn serve(collector: &mut Collector, request: Request) {
    match request {
        Request::Snapshot(promise) => promise.keep(collector.snapshot()),
        Request::Peak(promise) => promise.keep(collector.peak()),
        Request::History(promise) => promise.keep(collector.history().clone()),
        Request::SnapshotWithHistory(promise) => promise.keep((collector.snapshot(), collector.history().clone())),
        Request::SetFilter(filter, promise) => {
            collector.set_filter(filter);
            promise.keep(());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded here is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `f` with all signals blocked, so that a thread it makes never runs a handler of the program.
pub(super) fn with_signals_blocked<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: a signal set is plain data; the calls write and read the two given.
    let before = unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        let mut before: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let result = f();
    // SAFETY: restores what was read above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    result
}
