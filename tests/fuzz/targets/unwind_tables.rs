//! Any bytes as a section of unwind tables. The property is beside the code: `unwind/cfi_oracle.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heaptally_capture::fuzz::unwind_tables(data));
