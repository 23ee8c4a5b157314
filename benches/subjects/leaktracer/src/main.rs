//! The workloads on leaktracer, told to trace the functions of the workloads.

#![forbid(unsafe_code)]

use leaktracer::LeaktracerAllocator;

#[global_allocator]
static ALLOC: LeaktracerAllocator = LeaktracerAllocator::init();

fn main() {
    workloads::run(start, end);
}

fn start() {
    leaktracer::init_symbol_table(&["workloads"]);
}

/// Fails if leaktracer knows no function of the workloads: then it traced nothing.
fn end() -> Result<(), String> {
    let seen = leaktracer::with_symbol_table(|table| {
        let functions = table.iter().filter(|(name, _)| name.starts_with("workloads::")).count();
        (functions, table.iter().map(|(_, symbol)| symbol.count()).sum::<usize>())
    });
    let (functions, live_blocks) = seen.map_err(|_| "leaktracer's lock is poisoned".to_owned())?;
    eprintln!("leaktracer: {functions} functions of the workloads, {live_blocks} live blocks");
    if functions == 0 { Err("leaktracer traced no function of the workloads".to_owned()) } else { Ok(()) }
}
