//! The workloads on jemalloc: what heaptally over it is compared with.

#![forbid(unsafe_code)]

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOC: Jemalloc = Jemalloc;

fn main() {
    workloads::run_alone();
}
