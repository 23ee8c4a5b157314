//! Prints when `main` begins, on the system's allocator.

#![forbid(unsafe_code)]

use std::alloc::System;

#[global_allocator]
static ALLOC: System = System;

fn main() {
    costs::print_begin();
}
