//! Builds the subjects of the benchmark, runs them in turn on the workloads, and prints what each costs as a ratio to
//! the system's allocator.
//!
//! ```text
//! cargo run --release -p heaptally-bench                          everything
//! cargo run --release -p heaptally-bench -- --only pairs33,json   some workloads
//! cargo run --release -p heaptally-bench -- instructions          exact counts, with valgrind
//! cargo run --release -p heaptally-bench -- memory                resident bytes a block
//! cargo run --release -p heaptally-bench -- costs                 what it costs beside the time of allocations
//! ```
//!
//! Subjects are packages of their own (`benches/subjects/NAME`) over one source of workloads (`benches/workloads`);
//! what the driver knows of them is in `catalog.rs`. How to read the numbers is in docs/benchmarks.md.

mod bars;
mod baseline;
mod bootstrap;
mod catalog;
mod cell;
mod compare;
mod cost;
mod costs;
mod curve;
mod expected;
mod failure;
mod footprint;
mod inputs;
mod instructions;
mod launch;
mod layout;
mod loads;
mod losses;
mod machine;
mod memory;
mod memory_table;
mod metric;
mod number;
mod options;
mod order;
mod outputs;
mod plots;
mod process;
mod record;
mod report;
mod sample;
mod scale;
mod subject;
mod svg;
mod table;
mod workload;

use std::env;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::options::Task;

/// 0: done; 1: something failed or is above its limit, after all else was printed; 2: the command line or a
/// file that it names is no good, and nothing was measured.
fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let done = match options::parse(&words) {
        Ok(Task::Help) => {
            println!("{}", options::USAGE);
            Ok(())
        }
        Ok(Task::Compare(options)) => compare::compare(&options, &words),
        Ok(Task::Instructions(options)) => instructions::instructions(&options, &words).map_err(Failure::Found),
        Ok(Task::Costs(options)) => costs::costs(&options, &words).map_err(Failure::Found),
        Ok(Task::Memory(options)) => memory::memory(&options, &words).map_err(Failure::Found),
        Err(error) => Err(Failure::Refused(error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
