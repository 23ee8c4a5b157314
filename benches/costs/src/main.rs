//! Measures one of the costs of heaptally.

#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;

use heaptally::TallyAlloc;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match costs::run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
