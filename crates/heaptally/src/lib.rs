//! Exact heap statistics by allocation site, in process, while the program runs.
//!
//! ```
//! #[global_allocator]
//! static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
//!
//! fn main() {
//!     if let Err(error) = heaptally::start(heaptally::config!()) {
//!         eprintln!("heaptally: {error}");
//!     }
//!     let kept: Vec<Vec<u8>> = (0..100).map(|_| Vec::with_capacity(1024)).collect();
//!     println!("{}", heaptally::snapshot());
//!     drop(kept);
//! }
//! ```
//!
//! - [`TallyAlloc`] is the allocator: exact [`totals`] from the first allocation, around any other allocator.
//! - [`start`] charges every allocation to its call stack, and every stack to the innermost function of your modules.
//! - [`snapshot`] says who holds the heap now; [`Snapshot::since`] what grew; [`Tally::every`] does both at a period.
//! - [`Tally::history`] is the heap over time, in a bounded number of bytes; [`Tally::suspects`] says what may leak;
//!   [`Tally::peak`] who held the heap when it was highest.
//! - [`measure`] counts what one closure allocates, for tests and benchmarks; a [`Region`] does for any scope of a
//!   thread, a [`ProcessRegion`] for all threads, by function if wanted.
//!
//! Numbers are exact or labelled: what could not be attributed is in a row of its own (see [`SiteKind`] and
//! [`Losses`]). The guide is the project's README; what each number means is in docs/metrics.md.

// The files that need it allow it again, with the reason; docs/architecture.md lists them.
#![deny(unsafe_code)]

mod allocator;
mod config;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64", not(heaptally_portable)))]
mod engine;
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64", not(heaptally_portable))))]
#[path = "portable.rs"]
mod engine;
mod environment;
mod every;
#[cfg(heaptally_fuzz)]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "http")]
pub mod http;
pub mod leaktracer;
mod module_name;
mod process_region;
mod region;
mod start_error;
mod symbol_table;
mod tally;

pub use allocator::TallyAlloc;
pub use config::{Config, OnMismatch, Symbolize, TraceReuse};
pub use environment::EnvError;
pub use every::{Every, Tick};
pub use heaptally_profile::export;
pub use heaptally_profile::{
    AGES, Captures, Counter, Counts, Diff, DiffRow, Elders, Fate, Frame, Grouping, History, HistoryLimits, Lifetimes,
    Line, Location, Losses, Mapping, ModuleUse, NodeId, Overhead, Peak, PeakBytes, Point, Rank, RegionReport, Row,
    Segment, Site, SiteKind, SitePoint, Snapshot, Span, Suspect, Suspects, SymbolQuality, SymbolVerdict, ThreadRow,
    TickNumber, Totals, UnknownFrees, Violation,
};
pub use module_name::ModuleError;
pub use process_region::ProcessRegion;
pub use region::Region;
pub use start_error::StartError;
pub use symbol_table::SymbolTable;
pub use tally::{Tally, measure, measure_process, snapshot, start, tally, totals};
