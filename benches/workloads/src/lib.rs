//! The workloads of the benchmark, the same source for every subject.
//!
//! A subject is a binary with a `#[global_allocator]` whose `main` calls [`run`] with two hooks: one that starts its
//! tracking, before the measured threads are spawned, and one that verifies its result, after the timing. The process
//! measures the one workload it is told, and prints one line that the driver (`benches/driver`) reads.
//!
//! A workload is a sequence of laps. Every lap does the same operations, so a slow subject does fewer laps and never
//! other work; the checksum of a lap proves it. Inputs are read, and memory that is not part of the measured work is
//! allocated, before tracking starts.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod arguments;
mod batches;
mod churn;
mod clock;
mod json;
mod pairs;
mod plan;
mod report;
mod run;
mod sources;
mod work;
mod xorshift;

pub use run::{lap, run};
