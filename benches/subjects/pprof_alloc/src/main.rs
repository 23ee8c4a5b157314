//! The workloads on pprof-alloc over the system's allocator.
//!
//! The interval of the samples comes from the environment, as its page advises; the driver sets it for the subject that
//! records every allocation. It follows frame pointers: the driver builds this with them and without.

#![forbid(unsafe_code)]

use pprof_alloc::{DEFAULT_PPROF_SAMPLE_RATE, PprofAlloc};

#[global_allocator]
static ALLOC: PprofAlloc = PprofAlloc::new().with_pprof_sample_rate_from_env(DEFAULT_PPROF_SAMPLE_RATE);

fn main() {
    // It has no switch: what it records before the workload counts as well.
    workloads::run(|| (), end);
}

/// Fails if pprof-alloc recorded no stack.
fn end() -> Result<(), String> {
    let summary = pprof_alloc::snapshot().pprof;
    eprintln!(
        "pprof-alloc: {:?}, {} stacks, {} blocks by its estimate",
        pprof_alloc::capture_mode(),
        summary.total_stacks,
        summary.alloc_objects
    );
    if summary.total_stacks == 0 { Err("pprof-alloc recorded no stack".to_owned()) } else { Ok(()) }
}
