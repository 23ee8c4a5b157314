//! The workloads of the benchmark, the same source for every subject.
//!
//! A subject is a binary with a `#[global_allocator]` whose `main` calls [`run`] with two hooks: one that starts its
//! tracking, before the measured threads are spawned, and one that verifies its result, after the timing. The process
//! measures the one workload it is told, and prints a line for each of its metrics that the driver (`benches/driver`) reads.
//!
//! A workload is a sequence of laps. Every lap does the same operations, so a slow subject does fewer laps and never
//! other work; the checksum of a lap proves it. Inputs are read, and memory that is not part of the measured work is
//! allocated, before tracking starts.
//!
//! Told `memory` instead of a workload, a process measures the resident memory of so many live blocks.

// `block.rs` and `page_size.rs` allow it again.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod arguments;
mod batches;
mod block;
mod churn;
mod clock;
mod histogram;
mod json;
mod load;
mod memory;
mod metric;
mod page_size;
mod pairs;
mod plan;
mod report;
mod resident;
mod run;
mod server;
mod service;
mod sort;
mod sources;
mod tree;
mod work;
mod xorshift;

pub use run::{Hooks, Measured, lap, run, run_alone, run_tracked};
