//! The workloads on jemalloc: what heaptally over it is compared with.
//!
//! One thread is parked, as heaptally has its aggregator.

#![forbid(unsafe_code)]

use std::thread;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOC: Jemalloc = Jemalloc;

fn main() {
    workloads::run(start, end);
}

fn start() {
    thread::spawn(|| {
        loop {
            thread::park();
        }
    });
}

fn end() -> Result<(), String> {
    Ok(())
}
