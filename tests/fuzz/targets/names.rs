//! Any function names and modules, as bytes of UTF-8. The property is beside the code: `engine/name_properties.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heaptally::fuzz::names(data));
