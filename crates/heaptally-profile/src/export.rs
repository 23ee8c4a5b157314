//! Snapshots in the formats of other tools, and in heaptally's own.
//!
//! Each format is a module, and a cargo feature of the same name in `heaptally` and `heaptally-profile`; none is on by
//! default. Exporters are pure functions of a [`Snapshot`](crate::Snapshot), or of a [`Diff`](crate::Diff), that write to
//! any [`Write`](std::io::Write) as they go, in many small pieces: give them a `Vec<u8>` or a
//! [`BufWriter`](std::io::BufWriter). They know no clock and no environment, and write the same bytes for the same data.
//! They allocate, so they are nothing for the allocator's own code, and run on whatever thread calls them. What each
//! format holds and how to open it is in docs/exports.md.
//!
//! | module | format | read back |
//! | --- | --- | --- |
//! | `csv` | rows of any grouping, for spreadsheets and data frames | |
//! | `dhat` | stacks, for valgrind's `dh_view.html` | |
//! | `file` | everything in a snapshot, compressed and checked | yes |
//! | `flamegraph` | stacks as a picture that a browser shows | |
//! | `folded` | stacks as lines, for whatever draws flame graphs | |
//! | `json` | everything in a snapshot, as JSON | yes |
//! | `pprof` | the profile that `go tool pprof` and many services read | |
//! | `prometheus` | totals, losses and the largest functions as metrics | |

#[cfg(feature = "csv")]
pub mod csv;
#[cfg(feature = "dhat")]
pub mod dhat;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "flamegraph")]
pub mod flamegraph;
#[cfg(feature = "folded")]
pub mod folded;
#[cfg(any(feature = "dhat", feature = "folded"))]
mod frame_texts;
#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "pprof")]
pub mod pprof;
#[cfg(feature = "prometheus")]
pub mod prometheus;
#[cfg(feature = "json")]
mod read_error;
#[cfg(feature = "pprof")]
mod sample;

#[cfg(all(test, any(feature = "json", feature = "pprof")))]
mod fixtures;
#[cfg(all(test, any(feature = "csv", feature = "dhat", feature = "folded", feature = "prometheus")))]
mod small_heap;

#[cfg(feature = "json")]
pub use read_error::ReadError;
