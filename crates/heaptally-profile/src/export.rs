//! Snapshots in the formats of other tools.
//!
//! Each format is a module, and a cargo feature of the same name in `heaptally` and `heaptally-profile`; none is on by
//! default. Exporters are pure functions of a [`Snapshot`](crate::Snapshot) that write to any [`Write`](std::io::Write), in
//! many small pieces: give them a `Vec<u8>` or a [`BufWriter`](std::io::BufWriter). They know no clock and no environment,
//! and write the same bytes for the same data. They allocate, so they are nothing for the allocator's own code, and run on
//! whatever thread calls them. What each format holds and how to open it is in docs/exports.md.
//!
//! | module | format |
//! | --- | --- |
//! | `csv` | rows of any grouping, for spreadsheets and data frames |
//! | `dhat` | stacks, for valgrind's `dh_view.html` |
//! | `flamegraph` | stacks as a picture that a browser shows |
//! | `folded` | stacks as lines, for whatever draws flame graphs |
//! | `prometheus` | totals, losses and the largest functions as metrics |

#[cfg(feature = "csv")]
pub mod csv;
#[cfg(feature = "dhat")]
pub mod dhat;
#[cfg(feature = "flamegraph")]
pub mod flamegraph;
#[cfg(feature = "folded")]
pub mod folded;
#[cfg(any(feature = "dhat", feature = "folded"))]
mod frame_texts;
#[cfg(feature = "prometheus")]
pub mod prometheus;

#[cfg(all(test, any(feature = "csv", feature = "dhat", feature = "folded", feature = "prometheus")))]
mod small_heap;
