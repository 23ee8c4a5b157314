//! Parses a JSON file, and says which functions of this program hold what while the value lives, and after its drop.
//! Run it with `cargo run --release --example tally_json FILE`.
//!
//! Ends with status 2, and one line on the standard error stream, when there is no such value; with 1 when the
//! tally itself cannot be had, or printed.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::ExitCode;
use std::{env, fmt, fs};

use heaptally::{Tally, TallyAlloc};
use serde_json::Value;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        return end("usage: tally_json FILE", 2);
    };
    let tally = match heaptally::start(heaptally::config!()) {
        Ok(tally) => tally,
        Err(error) => return end(format_args!("tally_json: {error}"), 1),
    };
    match value_in(&file) {
        // With `?`, so that whatever the name holds, this is one line.
        Err(error) => end(format_args!("tally_json: {file:?}: {error}"), 2),
        Ok(value) => match print_tally(tally, value) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => end(format_args!("tally_json: standard output: {error}"), 1),
            Ok(()) => ExitCode::SUCCESS,
        },
    }
}

/// The value in a file, whose text is gone when this returns.
fn value_in(file: &OsStr) -> Result<Value, Box<dyn Error>> {
    let text = read(file)?;
    parse(&text)
}

fn read(file: &OsStr) -> Result<String, Box<dyn Error>> {
    String::from_utf8(fs::read(file)?)
        .map_err(|error| format!("not JSON, which is UTF-8: {}", error.utf8_error()).into())
}

/// The parser refuses what is nested deeper than 128 levels: the stack is not the file's to spend.
fn parse(text: &str) -> Result<Value, Box<dyn Error>> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}").into())
}

fn print_tally(tally: Tally, value: Value) -> io::Result<()> {
    let living = tally.snapshot();
    drop(value);
    let dropped = tally.snapshot();
    let mut out = io::stdout().lock();
    writeln!(out, "while the value lives\n\n{living}\n\nafter its drop\n\n{dropped}")?;
    out.flush()
}

/// The last words and the status to end with. Nobody may be there to read them.
fn end(words: impl fmt::Display, status: u8) -> ExitCode {
    _ = writeln!(io::stderr(), "{words}");
    ExitCode::from(status)
}
