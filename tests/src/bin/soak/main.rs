//! A service that does for as long as asked whatever may wear heaptally out: `tests/soak.sh` says how to run it.
//!
//! It prints a line each minute, and ends with status 1 when a number is not exact, a bound is passed, or heaptally takes
//! more than docs/metrics.md says. The gate is shut for a line, so that what the service knows can be compared.

mod account;
mod budget;
#[path = "../../../tests/common/child.rs"]
mod child;
mod children;
#[path = "../../../tests/common/conserved.rs"]
mod conserved;
mod gate;
mod jobs;
mod leaves;
mod line;
#[path = "../../../tests/common/plugin.rs"]
#[allow(dead_code, reason = "nobody asks where a library lies")]
mod plugin;
mod reader;

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use heaptally::{Config, OnMismatch, Tally, TallyAlloc};
use heaptally_tests::{Ledger, Oracle};

use jobs::Worker;
use line::Line;
use reader::Reader;

/// What everybody in the process has asked for, heaptally included.
static ASKED: Ledger = Ledger::new();

#[global_allocator]
static ALLOC: Oracle<TallyAlloc> = Oracle::new(TallyAlloc::system(), &ASKED);

const WORKERS: u64 = 4;
/// Between two steps: the service is to be busy, and to leave the machine to others.
const WORKER_REST: Duration = Duration::from_millis(2);
const READER_REST: Duration = Duration::from_millis(700);
const CHILDREN_REST: Duration = Duration::from_secs(5);
/// What the main thread does between two lines: a leak, and pauses.
const BEAT: Duration = Duration::from_millis(100);
const LEAK_BYTES: usize = 4096;
/// One beat in so many begins a pause of so many.
const PAUSE_EVERY_BEATS: u64 = 97;
const PAUSE_BEATS: u64 = 11;
/// From then on the leak must be named.
const LEAK_IS_OLD: Duration = Duration::from_secs(150);

/// So small that whole stacks are full, and rings and counters well used, in a quarter of an hour.
fn config() -> Config {
    let verified = NonZeroU32::new(1009).expect("not zero");
    Config::new()
        .modules(["soak::leaves"])
        .max_stacks(1 << 17)
        .max_short_stacks(1 << 18)
        .counter_bytes(64 << 20)
        .verify_captures(verified, OnMismatch::Count)
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok());
    let (Some(seconds), fault) = (seconds, arguments.next()) else {
        eprintln!("soak SECONDS [--miscount]");
        return ExitCode::from(2);
    };
    let outcome = heaptally::start(config()).map_err(|error| error.to_string()).and_then(|tally| {
        if fault.as_deref() == Some("--miscount") {
            miscount();
        }
        soak(tally, Duration::from_secs(seconds))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn soak(tally: Tally, length: Duration) -> Result<(), String> {
    begin(tally);
    println!("{}", Line::heading());
    let every = (length / 3).min(Duration::from_secs(60));
    let begun = Instant::now();
    let (mut lines, mut beats, mut leaked) = (1, 0, Vec::new());
    loop {
        thread::sleep(BEAT);
        beats += 1;
        if beats % 3 == 0 {
            // 13 KiB a second.
            let _open = gate::pass();
            leaked.push(leaves::leaked(LEAK_BYTES));
        }
        match beats % PAUSE_EVERY_BEATS {
            0 => set_paused(tally, true),
            PAUSE_BEATS => set_paused(tally, false),
            _ => {}
        }
        if let Some(failure) = gate::failure() {
            return Err(failure);
        }
        if begun.elapsed() < every * lines {
            continue;
        }
        lines += 1;
        let line = {
            let _shut = gate::shut();
            Line::take(tally, begun.elapsed(), &ASKED)?
        };
        println!("{line}");
        if begun.elapsed() >= LEAK_IS_OLD && !line.names_the_leak() {
            return Err("the function that leaks is no suspect".to_owned());
        }
        if begun.elapsed() >= length {
            println!("{}", tally.suspects());
            println!("exact in {} lines, every bound kept, {} children ended well", lines - 1, children::ended());
            return Ok(());
        }
    }
}

/// Starts all threads. They end with the process.
fn begin(tally: Tally) {
    let (mut senders, mut receivers): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| mpsc::sync_channel(50)).unzip();
    senders.rotate_left(1);
    for seed in 0..WORKERS {
        let (next, previous) = (senders.remove(0), receivers.remove(0));
        let worker = move || {
            let mut worker = Worker::new(seed, next, previous);
            repeat(WORKER_REST, || worker.step());
        };
        start_thread("worker", worker);
    }
    start_thread("reader", move || {
        let mut reader = Reader::new(tally);
        repeat(READER_REST, || {
            if let Err(error) = reader.read() {
                gate::fail(error);
            }
        });
    });
    start_thread("children", || {
        loop {
            children::fork_one();
            thread::sleep(CHILDREN_REST);
        }
    });
}

fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(name.to_owned()).spawn(body).expect("the system has a thread");
}

/// Takes one step after the other, each while the gate is open.
fn repeat(rest: Duration, mut step: impl FnMut()) {
    loop {
        let open = gate::pass();
        step();
        drop(open);
        thread::sleep(rest);
    }
}

/// A fault for the first line to find: a block that its account does not know.
fn miscount() {
    account::set_paused(true);
    std::mem::forget(leaves::leaked(LEAK_BYTES));
    account::set_paused(false);
}

fn set_paused(tally: Tally, paused: bool) {
    let _shut = gate::shut();
    if paused {
        tally.pause()
    } else {
        tally.resume()
    }
    account::set_paused(paused);
}
