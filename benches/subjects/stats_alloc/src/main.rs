//! The workloads on stats_alloc over the system's allocator.

#![forbid(unsafe_code)]

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOC: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    // It has no switch: what it counts before the workload counts as well.
    workloads::run(|| (), end);
}

/// Fails if stats_alloc counted nothing.
fn end() -> Result<(), String> {
    let stats = ALLOC.stats();
    eprintln!("stats_alloc: {} blocks allocated, {} freed", stats.allocations, stats.deallocations);
    if stats.allocations == 0 { Err("stats_alloc counted no block".to_owned()) } else { Ok(()) }
}
