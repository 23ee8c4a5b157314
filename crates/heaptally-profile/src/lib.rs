//! The plain data of heaptally: snapshots of the heap by allocation site, differences between them,
//! and how they are printed.
//!
//! A [`Snapshot`] is what the heap looked like at one moment. It has one [`Site`] per call stack
//! and sums of them by function or another [`Grouping`] ([`Row`]); the difference of two is a
//! [`Diff`]. How the heap went over time is a [`History`], and which functions may leak by that are
//! [`Suspects`]. Everything here is data and pure functions of it: no threads, no clock, no
//! environment, no `unsafe`. What other tools read is written by [`export`]. Programs meet these types
//! through the crate `heaptally`, which makes the snapshots.
//!
//! A snapshot holds its own numbers and shares everything else: symbols and stacks are immutable,
//! reference counted, and common to all snapshots of a process ([`StackTables`]).
//!
//! # Examples
//!
//! ```
//! use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
//!
//! let counts = Counts { allocated_blocks: 2, allocated_bytes: 64, ..Counts::ZERO };
//! let snapshot = Snapshot::from_parts(SnapshotParts {
//!     totals: counts.into(),
//!     totals_before: Some(counts.into()),
//!     sites: vec![Site::pseudo(SiteKind::BeforeStart, counts)],
//!     ..SnapshotParts::default()
//! });
//! assert_eq!(snapshot.check(), Ok(()));
//! assert_eq!(snapshot.totals().live_bytes(), 64);
//! assert_eq!(snapshot.function("(before start)").unwrap().counts().live_blocks(), 2);
//! ```

#![forbid(unsafe_code)]

mod captures;
mod check;
mod chunked;
mod counts;
mod diff;
mod diff_row;
mod diff_table;
mod evidence;
pub mod export;
mod file_names;
mod frame;
mod grouping;
mod history;
mod history_limits;
mod lifetimes;
mod losses;
mod overhead;
mod peak;
mod point;
mod region_report;
mod row;
mod site;
mod site_kind;
mod snapshot;
mod snapshot_table;
mod span;
mod stack;
mod suspect;
mod suspects;
mod suspects_table;
mod symbols;
mod table;
mod thread_row;
mod thread_table;
mod tick_number;
mod totals;
mod tracked_sites;
mod units;
mod window;

#[cfg(test)]
mod fixtures;

pub use captures::Captures;
pub use check::{Counter, Violation};
pub use chunked::{Chunked, ChunkedBuilder};
pub use counts::Counts;
pub use diff::Diff;
pub use diff_row::{DiffRow, Fate};
pub use evidence::Elders;
pub use frame::{Frame, Line, Mapping, Segment};
pub use grouping::Grouping;
pub use history::History;
pub use history_limits::HistoryLimits;
pub use lifetimes::{AGES, Lifetimes};
pub use losses::{Losses, UnknownFrees};
pub use overhead::Overhead;
pub use peak::{Peak, PeakBytes};
pub use point::{Point, SitePoint};
pub use region_report::RegionReport;
pub use row::{Rank, Row};
pub use site::{Location, Owner, Site};
pub use site_kind::SiteKind;
pub use snapshot::{ModuleUse, Snapshot, SnapshotParts};
pub use span::Span;
pub use stack::{NodeId, StackNode, StackTables, Walk};
pub use suspect::Suspect;
pub use suspects::Suspects;
pub use symbols::{SymbolQuality, SymbolVerdict};
pub use thread_row::ThreadRow;
pub use tick_number::TickNumber;
pub use totals::Totals;
