//! The workloads on dhat, profiling the heap with its default settings.
//!
//! Its profile is written when the profiler is dropped, which never happens here: what is timed is the recording.

#![forbid(unsafe_code)]

use std::sync::OnceLock;

use dhat::{Alloc, HeapStats, Profiler};

#[global_allocator]
static ALLOC: Alloc = Alloc;

static PROFILER: OnceLock<Profiler> = OnceLock::new();

fn main() {
    workloads::run(start, end);
}

fn start() {
    PROFILER.get_or_init(Profiler::new_heap);
}

/// Fails if dhat counted nothing.
fn end() -> Result<(), String> {
    let stats = HeapStats::get();
    eprintln!("dhat: {} blocks, {} live, {} at the peak", stats.total_blocks, stats.curr_blocks, stats.max_blocks);
    if stats.total_blocks == 0 { Err("dhat counted no block".to_owned()) } else { Ok(()) }
}
