//! The workloads on the system's allocator: what every other subject is compared with.

#![forbid(unsafe_code)]

use std::alloc::System;

#[global_allocator]
static ALLOC: System = System;

fn main() {
    workloads::run_alone();
}
