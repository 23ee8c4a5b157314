//! The `main` of every subject.

use std::{env, iter, process, slice, thread};

use crate::arguments::{Amount, Arguments, Tracking};
use crate::clock::{Timed, time};
use crate::load::Load;
use crate::memory::weigh;
use crate::metric::Metric;
use crate::page_size::no_huge_pages;
use crate::plan::Plan;
use crate::report::Report;

/// What a subject with a tracker does, beside allocating.
pub struct Hooks {
    /// Begins tracking, before the measured threads are spawned.
    pub start: fn(Measured),
    /// Verifies the tracker's result, after the measurement.
    pub end: fn() -> Result<(), String>,
    /// Bytes that the tracker holds for itself, those that each block carries left out.
    pub own_bytes: fn() -> u64,
}

/// What the process is for.
#[derive(Clone, Copy, PartialEq)]
pub enum Measured {
    /// How long a workload takes: as a program has the tracker by default.
    Time,
    /// How long it takes while the tracker is paused.
    Paused,
    /// What blocks take: without names, so that no debug information is loaded and given back meanwhile.
    Memory,
}

/// [`run`] for an allocator alone: there is nothing to start and nothing to verify.
///
/// One thread is parked, as heaptally has its aggregator: glibc leaves out locks while a process has a single thread.
#[inline]
pub fn run_alone() {
    run(park, || Ok(()));
}

fn park() {
    thread::spawn(|| {
        loop {
            thread::park();
        }
    });
}

/// [`run_tracked`] for a subject that holds nothing for itself.
pub fn run(start: fn(), end: fn() -> Result<(), String>) {
    run_hooked(&|_| start(), end, || 0);
}

/// Measures what the command line names, and prints a line for each of its metrics.
///
/// A workload is verified while its blocks are live, the memory of blocks when they are freed. The process ends with
/// status 1 if the verification fails, and with 2 if the command line or an input is no good.
pub fn run_tracked(hooks: Hooks) {
    run_hooked(&hooks.start, hooks.end, hooks.own_bytes);
}

fn run_hooked(start: &dyn Fn(Measured), end: fn() -> Result<(), String>, own_bytes: fn() -> u64) {
    let mut words = env::args().skip(1).peekable();
    if words.next_if(|word| word == "memory").is_some() {
        let load = Load::parse(words).unwrap_or_else(|error| fail(2, &error));
        no_huge_pages().unwrap_or_else(|error| fail(1, &error));
        start(Measured::Memory);
        let weighed = weigh(&load, own_bytes).unwrap_or_else(|error| fail(1, &error));
        end().unwrap_or_else(|error| fail(1, &error));
        println!("{weighed}");
        return;
    }
    let arguments = Arguments::parse(words).unwrap_or_else(|error| fail(2, &error));
    let Arguments { workload, amount, input, tracking } = arguments;
    let mut plan = Plan::prepare(&workload, input.as_deref()).unwrap_or_else(|error| fail(2, &error));
    match tracking {
        Tracking::Started => start(Measured::Time),
        Tracking::Paused => start(Measured::Paused),
        Tracking::BeforeStart => {}
    }
    let report = measure(workload, &mut plan, amount);
    if tracking != Tracking::BeforeStart {
        end().unwrap_or_else(|error| fail(1, &error));
    }
    println!("{report}");
}

/// Runs one lap of a workload that needs no input, on a spawned thread as always: for tests of the workloads.
///
/// # Panics
///
/// If there is no such workload.
pub fn lap(workload: &str) {
    let mut plan = Plan::prepare(workload, None).expect("a workload without input");
    measure(workload.to_owned(), &mut plan, Amount::Laps(1));
}

fn measure(workload: String, plan: &mut Plan, amount: Amount) -> Report {
    match plan {
        Plan::Cost(work) => {
            let timed = time(slice::from_mut(work), amount);
            report(workload, work.metrics(timed[0].ns_an_operation), &timed)
        }
        Plan::Scaling(works) => {
            // In one process, so that both have the same addresses and the same noise.
            let amount = amount.share(2);
            let one = time(&mut works[..1], amount);
            let two = time(works, amount);
            let slowdown = mean_ns(&two) / mean_ns(&one);
            report(workload, vec![Metric::lower("slowdown", "two/one", slowdown)], &two)
        }
        Plan::Curve(works) => {
            let counts = thread_counts(works.len());
            let amount = amount.share(counts.len());
            let mut metrics = Vec::new();
            let mut all = Vec::new();
            for count in counts {
                let unit = format!("ns/{}", works[0].operation());
                all = time(&mut works[..count], amount);
                metrics.push(Metric::lower(count.to_string(), unit, mean_ns(&all)));
            }
            report(workload, metrics, &all)
        }
    }
}

/// One, two, four and so on, and the most.
fn thread_counts(most: usize) -> Vec<usize> {
    iter::successors(Some(1), |count| Some(2 * count)).take_while(|&count| count < most).chain([most]).collect()
}

fn mean_ns(threads: &[Timed]) -> f64 {
    threads.iter().map(|timed| timed.ns_an_operation).sum::<f64>() / threads.len() as f64
}

fn report(workload: String, metrics: Vec<Metric>, timed: &[Timed]) -> Report {
    let operations = timed.iter().map(|timed| timed.operations).sum();
    let checksum = timed.iter().fold(0, |sum: u64, timed| sum.wrapping_add(timed.checksum));
    Report { workload, metrics, operations, checksum }
}

fn fail(status: i32, error: &str) -> ! {
    eprintln!("error: {error}");
    process::exit(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_the_powers_of_two_and_the_most() {
        assert_eq!([2, 6, 16].map(thread_counts), [vec![1, 2], vec![1, 2, 4, 6], vec![1, 2, 4, 8, 16]]);
    }
}
