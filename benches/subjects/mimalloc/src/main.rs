//! The workloads on mimalloc: what heaptally over it is compared with.

#![forbid(unsafe_code)]

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOC: MiMalloc = MiMalloc;

fn main() {
    workloads::run_alone();
}
