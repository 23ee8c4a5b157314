//! Any bytes as a snapshot's file or text.

#![no_main]

#[path = "../src/snapshot_file.rs"]
mod snapshot_file;

#[global_allocator]
static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();

libfuzzer_sys::fuzz_target!(|data: &[u8]| snapshot_file::check(data));
