//! Snapshots in the formats of other tools, each behind a cargo feature of its name.
//!
//! Pure functions of a [`Snapshot`](crate::Snapshot) into a writer, for any thread; they allocate. None reads a clock, the
//! environment or anything global, so the same snapshot always gives the same bytes. They write many small pieces: give
//! them a `Vec<u8>` or a [`BufWriter`](std::io::BufWriter). What each format has of a snapshot, and what it cannot have, is
//! in docs/exports.md.

#[cfg(feature = "csv")]
mod csv;
#[cfg(feature = "dhat")]
mod dhat;
#[cfg(feature = "flamegraph")]
mod flamegraph;
#[cfg(feature = "folded")]
mod folded;
#[cfg(any(feature = "dhat", feature = "folded"))]
mod frame_texts;
#[cfg(feature = "prometheus")]
mod prometheus;

#[cfg(all(test, any(feature = "csv", feature = "dhat", feature = "folded", feature = "prometheus")))]
mod fixtures;

#[cfg(feature = "csv")]
pub use csv::csv;
#[cfg(feature = "dhat")]
pub use dhat::{DhatBlocks, dhat};
#[cfg(feature = "flamegraph")]
pub use flamegraph::flamegraph;
#[cfg(feature = "folded")]
pub use folded::folded;
#[cfg(feature = "prometheus")]
pub use prometheus::{PROMETHEUS_CONTENT_TYPE, prometheus};
