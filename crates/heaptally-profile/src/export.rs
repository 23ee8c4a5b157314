//! Snapshots in the formats of other tools, and in heaptally's own.
//!
//! Each format is a module, and a cargo feature of the same name in `heaptally` and `heaptally-profile`; none is on by
//! default. Exporters are pure functions of a [`Snapshot`](crate::Snapshot) or a [`Diff`](crate::Diff) that write to any
//! [`Write`](std::io::Write) as they go: no clock, no environment, the same bytes for the same data. They allocate, so
//! they are nothing for the allocator's own code, and run on whatever thread calls them. What each format holds and how
//! to open it is in docs/exports.md.
//!
//! | module | format | read back |
//! | --- | --- | --- |
//! | `file` | everything in a snapshot, compressed and checked | yes |
//! | `json` | everything in a snapshot, as JSON | yes |
//! | `pprof` | the profile that `go tool pprof` and many services read | |

#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "pprof")]
pub mod pprof;
#[cfg(feature = "json")]
mod read_error;
#[cfg(feature = "pprof")]
mod sample;

#[cfg(all(test, any(feature = "json", feature = "pprof")))]
mod fixtures;

#[cfg(feature = "json")]
pub use read_error::ReadError;
