//! The workloads on the system's allocator: what every other subject is compared with.
//!
//! One thread is parked, as heaptally has its aggregator: glibc leaves out locks while a process has a single thread.

#![forbid(unsafe_code)]

use std::alloc::System;
use std::thread;

#[global_allocator]
static ALLOC: System = System;

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
