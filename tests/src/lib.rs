//! What the tests share: allocators that watch heaptally from both sides, programs that put a heap to work, and quiet
//! points.
//!
//! - [`Watched`] is the allocator with a ledger outside and a ledger inside; [`assert_exact`] compares all three.
//! - [`workload`] has the programs, [`Block`] the blocks they use.
//! - [`stacks`] makes as many call stacks as are wanted, [`c_frames`] calls through frames of C.

mod block;
pub mod c_frames;
mod counts;
mod ledger;
mod quiet;
mod random;
mod resident;
pub mod stacks;
mod strict;
mod watched;
pub mod workload;

pub use block::{Block, Refused};
pub use counts::counts;
pub use ledger::{Ledger, Oracle};
pub use quiet::{assert_conserved, assert_settles, sum_of_rows};
pub use random::Random;
pub use resident::resident_bytes;
pub use strict::{Strict, layout_balance, refusing};
pub use watched::{ASKED, SERVED, Watched, assert_exact, watched};

/// The README's programs, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
