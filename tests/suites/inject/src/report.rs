//! A process's first line, when it begins, and its last, when it ends by itself: whether all numbers were conserved.
//!
//! Called by the loader before `main`, and by `exit`, on the thread that calls it. Other threads may be running then: they are
//! given a while to fall quiet.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::num::NonZeroU32;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use heaptally::{Config, OnMismatch, SiteKind, Snapshot, Symbolize};
use heaptally_tests::sum_of_rows;

use crate::{ASKED, bypass};

/// How long other threads may go on allocating. Most processes have none left.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);
/// Readings that tell a number that is wrong from one that others are just changing.
const READINGS: usize = 40;
/// One stack in so many is compared with the platform's unwinder.
const VERIFY_EVERY: NonZeroU32 = NonZeroU32::new(97).expect("not zero");

/// Starts tracking, unless nobody wants to know.
pub(crate) extern "C" fn begin() {
    if env::var_os("HEAPTALLY_SUITES_REPORT").is_none() {
        return;
    }
    // Without names: nobody looks at them, and unoptimized it takes seconds to find them.
    let config = Config::new().symbolize(Symbolize::Off).verify_captures(VERIFY_EVERY, OnMismatch::Count);
    match heaptally::start(config) {
        Ok(_) => line("began"),
        Err(error) => line(&format!("violated: not started: {error}")),
    }
    if env::var_os("HEAPTALLY_SUITES_FAULT").is_some() {
        bypass::plant_fault();
    }
    // SAFETY: a function that does not unwind into C.
    unsafe { libc::atexit(end) };
}

extern "C" fn end() {
    match quiet_snapshot() {
        Ok((snapshot, state)) => line(&format!("{state} {}", numbers(&snapshot))),
        Err(violation) => line(&format!("violated: {violation}")),
    }
}

/// A snapshot, and `exact` if all numbers are equal; `busy` if others went on allocating, so that it has passed its own
/// check and nothing more could be asked of it.
fn quiet_snapshot() -> Result<(Snapshot, &'static str), String> {
    let begun = Instant::now();
    loop {
        let snapshot = heaptally::snapshot();
        snapshot.check().map_err(|violation| violation.to_string())?;
        let unknown = snapshot.losses().unknown_frees;
        if unknown.blocks != 0 {
            return Err(format!("unknown frees: {unknown:?}"));
        }
        let captures = snapshot.captures();
        if captures.mismatched != 0 {
            return Err(format!("{} of {} stacks are not the platform's", captures.mismatched, captures.verified));
        }
        let rows_are_exact = sum_of_rows(&snapshot) == snapshot.totals().counts();
        if rows_are_exact && heaptally::totals().counts() == ASKED.counts() {
            return Ok((snapshot, "exact"));
        }
        if begun.elapsed() > PATIENCE {
            return match lasting_difference() {
                Some(difference) => Err(format!("the totals differ from what was asked for by {difference:?}")),
                None => Ok((snapshot, "busy")),
            };
        }
        thread::sleep(PAUSE);
    }
}

/// By how many blocks and bytes the totals differ from what was asked for, allocated and freed, if it is the same at each
/// reading: not what others are about to count.
fn lasting_difference() -> Option<[u64; 4]> {
    let read = || {
        let (totals, asked) = (heaptally::totals().counts(), ASKED.counts());
        [
            totals.allocated_blocks.wrapping_sub(asked.allocated_blocks),
            totals.allocated_bytes.wrapping_sub(asked.allocated_bytes),
            totals.freed_blocks.wrapping_sub(asked.freed_blocks),
            totals.freed_bytes.wrapping_sub(asked.freed_bytes),
        ]
    };
    let first = read();
    let lasts = (0..READINGS).all(|_| {
        thread::sleep(PAUSE);
        read() == first
    });
    (lasts && first != [0; 4]).then_some(first)
}

/// Blocks of the program, without those of heaptally itself; how many of them have a stack, and how many stacks there are;
/// stacks compared with the platform's unwinder.
fn numbers(snapshot: &Snapshot) -> String {
    let (mut of_program, mut with_stack, mut stacks) = (0, 0, 0);
    for site in snapshot.sites() {
        let blocks = site.counts().allocated_blocks;
        match site.kind() {
            SiteKind::Internal | SiteKind::UnknownFrees => {}
            SiteKind::Module | SiteKind::Other | SiteKind::NoSymbols => {
                of_program += blocks;
                with_stack += blocks;
                stacks += 1;
            }
            _ => of_program += blocks,
        }
    }
    format!("{of_program} {with_stack} {stacks} {}", snapshot.captures().verified)
}

/// Appends a line to the report, with the process's id and program: in one write, since other processes append to it.
fn line(text: &str) {
    let Some(report) = env::var_os("HEAPTALLY_SUITES_REPORT") else { return };
    let program = env::args_os().next().unwrap_or_default();
    let line = format!("{} {text} {}\n", process::id(), program.display());
    let mut file = OpenOptions::new().create(true).append(true).open(report).expect("a report");
    file.write_all(line.as_bytes()).expect("a report takes lines");
}
