//! What heaptally costs beside the time of allocations, each measured in a process of its own.
//!
//! The driver (`benches/driver`) runs these programs and reads the lines that they print, one for each number.

// `cpu_clock.rs` and `switches.rs` allow it again.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod aggregator;
mod cpu_clock;
mod first;
mod gaps;
mod history;
mod print;
mod profile;
mod snapshots;
mod stacks;
mod start;
mod status;
mod switches;

use std::time::{SystemTime, UNIX_EPOCH};

/// Measures what the command line names, in a program whose global allocator is a `TallyAlloc`.
///
/// # Errors
///
/// If there is no such cost, or if the numbers of a snapshot were not right.
pub fn run(words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let count = |text: &str| text.parse().map_err(|_| format!("{text} is not a whole number"));
    match words[..] {
        ["start"] => start::measure(),
        ["snapshots", stacks] => snapshots::measure(count(stacks)?),
        ["gaps", stacks] => gaps::measure(count(stacks)?),
        ["first"] => first::measure(),
        ["history", stacks] => history::measure(count(stacks)?),
        ["profile", stacks] => profile::measure(count(stacks)?),
        ["aggregator"] => aggregator::measure(),
        _ => Err("usage: costs start | snapshots STACKS | gaps STACKS | first | history STACKS | profile STACKS | \
                  aggregator"
            .to_owned()),
    }
}

/// Prints the time of day in nanoseconds, which the driver compares with that before it started the program.
#[inline]
pub fn print_begin() {
    let now = SystemTime::now();
    println!("{}", now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos()));
}

/// Starts tracking, as every cost but one does first.
fn track() -> Result<(), String> {
    heaptally::start(heaptally::config!()).map(|_| ()).map_err(|error| error.to_string())
}

/// That the numbers are conserved, and that so many stacks are told apart.
fn check(snapshot: &heaptally::Snapshot, stacks: usize) -> Result<(), String> {
    snapshot.check().map_err(|violation| format!("not conserved: {violation}"))?;
    match snapshot.sites().len() {
        sites if sites >= stacks => Ok(()),
        sites => Err(format!("{sites} sites of {stacks} stacks")),
    }
}
