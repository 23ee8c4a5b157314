//! The one set of everything, in static memory: there is one heap in a process.
//!
//! Limits are nothing until `start` sets them: no stack is taken before.

use crossbeam_utils::CachePadded;

use crate::arena::Arena;
use crate::capture::Verification;
use crate::counter::Line;
use crate::doorbell::Doorbell;
use crate::in_flight::InFlight;
use crate::losses::Losses;
use crate::mode::ModeCell;
use crate::older_ages::OlderAges;
use crate::private_lines::PageBudget;
use crate::registry::Registry;
use crate::ring::MAX_DEPTH;
use crate::segment_pool::SegmentPool;
use crate::shared_lines::SharedLines;
use crate::stack_hash::HashKey;
use crate::stack_table::StackTable;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize};
use crate::tick::TickCell;
use crate::unwind::Unwinder;

/// See the module's head.
pub struct Process {
    /// Off, on or paused. What every capture reads comes first; what threads write is padded, so that the one does
    /// not evict the other.
    pub mode: ModeCell,
    /// The time, as the hook knows it.
    pub tick: TickCell,
    /// Frames kept of a stack.
    pub max_depth: AtomicU32,
    /// Bytes each thread's ring may hold.
    pub ring_limit_bytes: AtomicUsize,
    /// Key of the stack hashes.
    pub hash_key: HashKey,
    /// How stacks are taken.
    pub unwinder: CachePadded<Unwinder>,
    /// How that is checked.
    pub verification: Verification,
    /// Memory of everything below.
    pub arena: CachePadded<Arena>,
    /// Thread states.
    pub registry: Registry,
    /// Hash to stack id.
    pub stacks: CachePadded<StackTable>,
    /// Counters of those who have none of their own.
    pub shared: SharedLines,
    /// Ages of freed blocks, but for those of the youngest.
    pub older_ages: OlderAges,
    /// What was counted on `shared`, in all: the totals line of threads without a state.
    pub shared_totals: CachePadded<Line>,
    /// Operations between `shared_totals` and `shared`.
    pub(crate) shared_in_flight: InFlight,
    /// Whether totals and rows are to be made equal at the next quiet point: see `census::repair_after_fork`.
    pub(crate) correction_due: AtomicBool,
    /// Memory for threads' own counters.
    pub pages: CachePadded<PageBudget>,
    /// Segments of the rings.
    pub segments: CachePadded<SegmentPool>,
    /// Wakes the aggregator.
    pub doorbell: Doorbell,
    /// What could not be attributed, and why.
    pub losses: CachePadded<Losses>,
}

/// The process's.
pub static PROCESS: Process = Process {
    mode: ModeCell::new(),
    tick: TickCell::new(),
    max_depth: AtomicU32::new(MAX_DEPTH as u32),
    ring_limit_bytes: AtomicUsize::new(0),
    hash_key: HashKey::new(),
    unwinder: CachePadded::new(Unwinder::new()),
    verification: Verification::new(),
    arena: CachePadded::new(Arena::new()),
    registry: Registry::new(),
    stacks: CachePadded::new(StackTable::new()),
    shared: SharedLines::new(),
    older_ages: OlderAges::new(),
    shared_totals: CachePadded::new(Line::new()),
    shared_in_flight: InFlight::new(),
    correction_due: AtomicBool::new(false),
    pages: CachePadded::new(PageBudget::new()),
    segments: CachePadded::new(SegmentPool::new()),
    doorbell: Doorbell::new(),
    losses: CachePadded::new(Losses::new()),
};
