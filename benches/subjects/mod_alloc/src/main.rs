//! The workloads on mod-alloc with backtraces.
//!
//! It follows frame pointers: the driver builds this with them and without.

#![forbid(unsafe_code)]

use mod_alloc::ModAlloc;

#[global_allocator]
static ALLOC: ModAlloc = ModAlloc::new();

fn main() {
    // It has no switch: what it counts before the workload counts as well.
    workloads::run(|| (), end);
}

/// Fails if mod-alloc counted nothing, or knows no call site.
fn end() -> Result<(), String> {
    let (blocks, sites) = (ALLOC.snapshot().alloc_count, ALLOC.call_sites());
    let frames = sites.iter().map(|site| site.frame_count).max().unwrap_or(0);
    let charged: u64 = sites.iter().map(|site| site.count).sum();
    eprintln!(
        "mod-alloc: {blocks} blocks, {charged} of them charged to {} sites of at most {frames} frames",
        sites.len()
    );
    if blocks == 0 || frames == 0 { Err("mod-alloc recorded no call site".to_owned()) } else { Ok(()) }
}
