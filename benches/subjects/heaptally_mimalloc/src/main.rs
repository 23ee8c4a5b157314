//! The workloads on heaptally over mimalloc, with default settings.

#![forbid(unsafe_code)]

use heaptally::TallyAlloc;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOC: TallyAlloc<MiMalloc> = TallyAlloc::new(MiMalloc);

fn main() {
    tracked::run();
}
