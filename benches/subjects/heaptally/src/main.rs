//! The workloads on heaptally over the system's allocator, with default settings.

#![forbid(unsafe_code)]

use heaptally::TallyAlloc;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    tracked::run();
}
