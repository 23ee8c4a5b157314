//! Any bytes as operations of the allocator.

#![no_main]

use std::sync::{LazyLock, Mutex};

use heaptally_tests::{Watched, watched};
use operations::Model;

#[path = "../src/operations.rs"]
mod operations;

#[global_allocator]
static ALLOC: Watched = watched();

static MODEL: LazyLock<Mutex<Model>> = LazyLock::new(|| Mutex::new(Model::start()));

libfuzzer_sys::fuzz_target!(|data: &[u8]| MODEL.lock().expect("a panic ends the process").check(data));
