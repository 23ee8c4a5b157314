//! What heaptally runs inside `malloc`: thread states, stack capture, the stack table, tags, counters, rings and
//! their memory.
//!
//! Part of [heaptally](https://docs.rs/heaptally); not for use on its own, and without a stable interface.
//!
//! Nothing in this crate allocates through the global allocator: there is no `std` and no `alloc` here, so it could
//! not. Nothing locks or waits, except [`Doorbell::wait`], which belongs to the aggregator. It knows no symbols and
//! starts no threads.
//!
//! Where to begin: [`hook`] is what the allocator calls, [`census`] what a snapshot reads, [`Process`] what there is.

#![no_std]

mod arena;
mod capture;
mod capture_counts;
pub mod census;
mod charge;
mod counter;
mod doorbell;
mod fault;
mod free_list;
#[cfg(heaptally_fuzz)]
#[doc(hidden)]
pub mod fuzz;
mod head;
pub mod hook;
mod in_flight;
mod lazy_table;
mod levels;
mod losses;
mod mismatch;
mod mode;
#[cfg(heaptally_loom)]
mod models;
mod older_ages;
mod owner;
pub mod page_map;
mod peak;
mod platform_unwinder;
mod private_lines;
mod process;
mod recording;
mod registry;
mod ring;
mod segment_pool;
mod shared_lines;
mod site_line;
mod stack_cache;
mod stack_hash;
mod stack_id;
mod stack_table;
mod sync;
mod sys;
pub mod tag;
mod thread_state;
mod tick;
mod unwind;

pub use arena::{Arena, Zeroed};
pub use capture::{Entry, Verification};
pub use capture_counts::{CaptureCounts, UNWOUND_RANGES};
pub use counter::{Counter, Line};
pub use doorbell::Doorbell;
pub use head::Head;
pub use lazy_table::LazyTable;
pub use losses::Losses;
pub use mode::{Mode, ModeCell};
pub use older_ages::{OLDER_AGES, OlderAges};
pub use owner::Term;
pub use peak::{Peak, UNTOLD_BYTES};
pub use platform_unwinder::self_test;
pub use private_lines::PageBudget;
pub use process::{PROCESS, Process};
pub use registry::Registry;
pub use ring::{MAX_DEPTH, Record, RecordBase, RecordedIp};
pub use segment_pool::{MIN_RING_BYTES, SegmentPool};
pub use shared_lines::SharedLines;
pub use site_line::SiteLine;
pub use stack_hash::{HashKey, StackHash};
pub use stack_id::StackId;
pub use stack_table::StackTable;
pub use thread_state::ThreadState;
pub use tick::{Tick, TickCell};
pub use unwind::{Modules, Reuse, Unwinder};
