//! Makes snapshots: reads the counters, drains the rings, symbolizes what is new, finds owners, merges. Records points
//! of the history: reads the counters and drains, no more.
//!
//! Owned by the aggregator and run on its thread alone; allocates freely, and all of it is charged to "(heaptally
//! itself)".

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::{HashMap, HashMapExt};
use heaptally_capture::{PROCESS, StackId, census};
use heaptally_profile::{
    ChunkedBuilder, Frame, History, Line, ModuleUse, NodeId, Peak, Site, SiteKind, Snapshot, SnapshotParts, StackNode,
    StackTables,
};

use super::counts::{ReadRow, Reading};
use super::fork;
use super::module_filter::ModuleFilter;
use super::own_cost;
use super::owners::Owners;
use super::peak_watch::{self, Captured, PeakWatch};
use super::recorder::Recorder;
use super::stack_store::{Appender, STORE, TRUNCATED_IP};
use super::symbolizer::Symbolizer;
use super::ticker::Ticker;
use super::totals_only;
use crate::SymbolTable;

/// How long the symbolizer's caches are kept after its last work. Filling them anew costs a tenth of a second in a
/// large program.
const CACHE_LIFE: Duration = Duration::from_secs(2);

/// What a snapshot says for which there is no memory.
const NO_MEMORY: &str = "no sites: the allocator has no memory for a row of each stack";

/// See the module's head.
pub(crate) struct Collector {
    appender: Appender,
    symbolizer: Symbolizer,
    /// When the symbolizer last had work, while it keeps caches for more.
    symbolized_at: Option<Instant>,
    frames: ChunkedBuilder<Frame>,
    frame_of: HashMap<u64, u32>,
    nodes: ChunkedBuilder<StackNode>,
    owners: Owners,
    table: SymbolTable,
    reading: Reading,
    recorder: Recorder,
    sequence: u64,
    symbolize_time: Duration,
    notes: Vec<String>,
    started: Instant,
    peak_watch: PeakWatch,
    ticker: Ticker,
}

impl Collector {
    pub(crate) fn new(
        filter: ModuleFilter,
        symbolizer: Symbolizer,
        table: SymbolTable,
        recorder: Recorder,
        notes: Vec<String>,
    ) -> Self {
        Self {
            appender: Appender::new(),
            symbolizer,
            symbolized_at: None,
            frames: ChunkedBuilder::new(),
            frame_of: HashMap::new(),
            nodes: ChunkedBuilder::new(),
            owners: Owners::new(filter),
            table,
            reading: Reading::default(),
            recorder,
            sequence: 0,
            symbolize_time: Duration::ZERO,
            notes,
            started: Instant::now(),
            peak_watch: PeakWatch::default(),
            ticker: Ticker::new(),
        }
    }

    /// The clock of the allocator.
    pub(crate) fn ticker(&self) -> Ticker {
        self.ticker
    }

    /// Moves new stacks from the rings to the store.
    pub(crate) fn drain(&mut self) {
        self.ticker.advance();
        census::drain(|record| self.appender.add(&record));
    }

    /// Charges every stack, the past included, by other modules.
    pub(crate) fn set_filter(&mut self, filter: ModuleFilter) {
        self.owners = Owners::new(filter);
    }

    /// Frees what symbolizing keeps in memory, tens of megabytes in a large program, when it had no work for
    /// `CACHE_LIFE`. To be called at every tick.
    pub(crate) fn release_caches(&mut self) {
        if self.symbolized_at.is_some_and(|at| at.elapsed() >= CACHE_LIFE) {
            fork::while_symbolizing(|| self.symbolizer.release_caches());
            self.symbolized_at = None;
        }
    }

    /// Records a point of the history, if one is due. To be called at every tick.
    pub(crate) fn record(&mut self) {
        let begun = self.started.elapsed();
        if !self.recorder.is_due(begun) {
            return;
        }
        let used_ns = own_cost::thread_cpu_ns();
        // Without memory there is no point: the next one may find some.
        if self.reading.read().is_ok() {
            // After the counters, as that of a snapshot is before them: no time between the two is told too long.
            let elapsed = self.started.elapsed();
            // Every id they name has its record in a ring or in the store.
            self.drain();
            self.recorder.push(&self.reading, elapsed);
        }
        self.recorder.rest_after(begun, Duration::from_nanos(own_cost::thread_cpu_ns() - used_ns));
    }

    /// What was recorded.
    pub(crate) fn history(&self) -> &History {
        self.recorder.history()
    }

    /// The heap now.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let begun = Instant::now();
        let read = self.reading.make_room().and_then(|()| {
            // Before the counters: what symbolizing new stacks takes is in the snapshot that it is done for.
            self.mirror_stacks();
            let elapsed = self.started.elapsed();
            self.reading.read().map(|()| elapsed)
        });
        let Ok(elapsed) = read else {
            return totals_only(SiteKind::NoStack, vec![NO_MEMORY.to_owned()]);
        };
        // After the counters: every id they name has its record in a ring or in the store. Few are new since above.
        self.mirror_stacks();
        self.sequence += 1;
        let tables = self.tables();
        let sites = sites(self.reading.with_counts(), &tables, &mut self.owners, &self.symbolizer);
        self.table.merge(&sites, self.sequence);
        let threads = self.reading.threads.rows();
        let internal = self.reading.rows[StackId::INTERNAL.index()].counts;
        let mut overhead = own_cost::overhead(internal, self.reading.totals);
        overhead.history_bytes = self.recorder.bytes() as u64;
        overhead.history_limit_bytes = self.recorder.limit_bytes() as u64;
        overhead.aggregator_cpu_ns = own_cost::thread_cpu_ns();
        overhead.symbolize_ns = self.symbolize_time.as_nanos() as u64;
        overhead.snapshot_ns = begun.elapsed().as_nanos() as u64;
        let modules = self.owners.modules().map(|(name, matched)| ModuleUse { name, matched }).collect();
        Snapshot::from_parts(SnapshotParts {
            sequence: self.sequence,
            totals: self.reading.totals,
            totals_before: self.reading.totals_before,
            sites,
            threads,
            losses: own_cost::losses(self.reading.rows[StackId::UNKNOWN_FREES.index()].counts),
            overhead,
            captures: own_cost::captures(),
            symbols: self.symbolizer.quality(),
            resident_bytes: own_cost::resident_bytes(),
            modules,
            peak: Some(peak_watch::peak_bytes()),
            elapsed,
            tick: self.reading.tick,
            notes: self.notes.clone(),
        })
    }

    /// Reads the rows now and then, if more is live than when they were read, and asks to be woken when it is more still.
    pub(crate) fn watch_peak(&mut self) {
        // What the threads do not tell.
        PROCESS.peak.set_before_start(census::before_start_bytes(), &PROCESS.doorbell);
        if self.peak_watch.has_time() {
            self.read_peak();
        }
    }

    fn read_peak(&mut self) {
        let told_before = PROCESS.peak.live_bytes();
        if !self.peak_watch.is_due(told_before) {
            return;
        }
        let begun = Instant::now();
        if self.reading.read().is_ok() {
            // It may have fallen meanwhile.
            let told_bytes = told_before.min(PROCESS.peak.live_bytes());
            self.peak_watch.offer(&self.reading, told_bytes, begun, self.started.elapsed());
        }
    }

    /// The highest that the heap was so far.
    pub(crate) fn peak(&mut self) -> Peak {
        self.watch_peak();
        self.read_peak();
        self.mirror_stacks();
        let tables = self.tables();
        let Captured { rows, totals, tick, elapsed, .. } = self.peak_watch.captured();
        let snapshot = Snapshot::from_parts(SnapshotParts {
            totals: *totals,
            sites: sites(rows.iter().copied(), &tables, &mut self.owners, &self.symbolizer),
            tick: *tick,
            elapsed: *elapsed,
            peak: Some(peak_watch::peak_bytes()),
            symbols: self.symbolizer.quality(),
            ..SnapshotParts::default()
        });
        Peak::new(peak_watch::peak_bytes(), snapshot)
    }

    /// What the stacks of a snapshot are in.
    fn tables(&mut self) -> Arc<StackTables> {
        Arc::new(StackTables { nodes: self.nodes.freeze(), frames: self.frames.freeze() })
    }

    /// Brings the store up to the rings, and the tables that snapshots share up to the store, symbolizing each address
    /// the first time it is seen.
    fn mirror_stacks(&mut self) {
        self.drain();
        let new = self.nodes.len() as u32 + 1..STORE.len();
        let mut unknown: Vec<u64> = Vec::new();
        for (_, ip) in new.clone().filter_map(|number| STORE.node(number)) {
            if !self.frame_of.contains_key(&ip) {
                unknown.push(ip);
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        self.symbolize(unknown);
        for (parent, ip) in new.filter_map(|number| STORE.node(number)) {
            self.nodes.push(StackNode { parent, frame: self.frame_of[&ip] });
        }
    }

    fn symbolize(&mut self, mut ips: Vec<u64>) {
        if ips.is_empty() {
            return;
        }
        let begun = Instant::now();
        let ticker = self.ticker;
        let mut keep = |ip, frame| {
            // The first of a large program may take a second.
            ticker.advance();
            self.frame_of.insert(ip, self.frames.push(frame));
        };
        if let Some(cut) = ips.iter().position(|&ip| ip == TRUNCATED_IP) {
            keep(ips.swap_remove(cut), truncated_frame());
        }
        fork::while_symbolizing(|| self.symbolizer.frames(&ips, keep));
        self.symbolized_at = Some(Instant::now());
        self.symbolize_time += begun.elapsed();
    }
}

/// One site for each stack among `rows`, and one for each pseudo-row.
fn sites(
    rows: impl Iterator<Item = (StackId, ReadRow)> + Clone,
    tables: &Arc<StackTables>,
    owners: &mut Owners,
    symbolizer: &Symbolizer,
) -> Vec<Site> {
    let mut sites = Vec::with_capacity(rows.clone().count());
    let mut index_of: HashMap<NodeId, u32> = HashMap::with_capacity(sites.capacity());
    let mut pseudo = [ReadRow::default(); StackId::FIRST_REAL.index()];
    for (id, row) in rows {
        if let Some(sum) = pseudo.get_mut(id.index()) {
            *sum = row;
            continue;
        }
        // An id whose stack found no memory has none.
        let Some(leaf) = STORE.leaf(id) else {
            pseudo[StackId::OVERFLOW.index()] += row;
            continue;
        };
        match index_of.entry(leaf) {
            Entry::Vacant(place) => {
                place.insert(sites.len() as u32);
                let (kind, owner) = owners.owner(tables, leaf, symbolizer);
                let site = Site::new(kind, owner, Some((Arc::clone(tables), leaf)), row.counts);
                sites.push(site.with_lifetimes(row.lifetimes));
            }
            // A stack may have two ids (see `stack_table`).
            Entry::Occupied(place) => sites[*place.get() as usize].add(row.counts, row.lifetimes),
        }
    }
    for (id, kind) in PSEUDO_ROWS {
        let ReadRow { counts, lifetimes } = pseudo[id.index()];
        if !counts.is_zero() {
            sites.push(Site::pseudo(kind, counts).with_lifetimes(lifetimes));
        }
    }
    sites
}

/// What stands for the frames that were cut off.
fn truncated_frame() -> Frame {
    let line = Line { function: "(truncated)".into(), file: None, line: None };
    Frame { ip: TRUNCATED_IP, mapping: None, lines: [line].into() }
}

const PSEUDO_ROWS: [(StackId, SiteKind); 8] = [
    (StackId::BEFORE_START, SiteKind::BeforeStart),
    (StackId::PAUSED, SiteKind::Paused),
    (StackId::INTERNAL, SiteKind::Internal),
    (StackId::NO_STACK, SiteKind::NoStack),
    (StackId::OVERFLOW, SiteKind::Overflow),
    (StackId::TEARDOWN, SiteKind::Teardown),
    (StackId::UNTAGGED, SiteKind::Untagged),
    (StackId::UNKNOWN_FREES, SiteKind::UnknownFrees),
];
