//! The workloads on heaptally over jemalloc, with default settings.

#![forbid(unsafe_code)]

use heaptally::TallyAlloc;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOC: TallyAlloc<Jemalloc> = TallyAlloc::new(Jemalloc);

fn main() {
    tracked::run();
}
