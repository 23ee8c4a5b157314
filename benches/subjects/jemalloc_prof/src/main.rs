//! The workloads on jemalloc with its heap profiler compiled in.
//!
//! Whether it profiles, and how often it takes a sample, is said by the environment (`_RJEM_MALLOC_CONF`), which the
//! driver sets.

#![forbid(unsafe_code)]

use std::env;

use tikv_jemalloc_ctl::profiling;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOC: Jemalloc = Jemalloc;

fn main() {
    workloads::run(|| (), end);
}

/// Fails if the profiler is off and should be on, or the other way round.
fn end() -> Result<(), String> {
    let wanted = env::var("_RJEM_MALLOC_CONF").is_ok_and(|settings| settings.contains("prof:true"));
    let profiles = profiling::prof::read().map_err(|error| error.to_string())?;
    let interval = profiling::lg_prof_sample::read().map_err(|error| error.to_string())?;
    eprintln!("jemalloc: profiling {profiles}, a sample each 2^{interval} bytes");
    if profiles == wanted { Ok(()) } else { Err(format!("jemalloc's profiling is {profiles}, not {wanted}")) }
}
