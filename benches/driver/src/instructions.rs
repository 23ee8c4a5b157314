//! Instructions a pair, counted by valgrind: the same on every run, however busy the machine.
//!
//! Counted are those of the loop of pairs and of what it calls, on its thread: neither the process's start nor the
//! aggregator. Two lengths are run and the difference is divided by the pairs, so that what happens once does not
//! count either.

use std::path::Path;
use std::process::Command;

use crate::expected::{Count, Expected, Toolchain, Verdict};
use crate::layout::Layout;
use crate::machine;
use crate::number;
use crate::options::{ExpectedCounts, InstructionsOptions};
use crate::process;
use crate::subject::Subject;
use crate::table::{Column, Table};

/// In benches/workloads/src/pairs.rs; hashes follow it in the symbol.
const COUNTED_FUNCTION: &str = "workloads::pairs::repeat*";
const PAIRS_A_LAP: u64 = 4096;
const LAPS: [u64; 2] = [1, 3];

const BEFORE_START: &str = "heaptally before start";

/// What a pair may cost above System's in a program that installs heaptally and does not start it.
const LIMIT_BEFORE_START: u64 = 40;

/// # Errors
///
/// If a count failed, differs from what is expected, or if a pair before `start` is above its limit; the latter two after
/// all counts are printed.
pub(crate) fn instructions(options: &InstructionsOptions, words: &[String]) -> Result<(), String> {
    let layout = Layout::find()?;
    let build = |subject: Subject| subject.build(&layout).map_err(|error| error.why());
    let system = build(Subject::system())?;
    let heaptally = build(Subject::heaptally())?;

    let mut table = Table::new([
        Column::text("workload"),
        Column::text("subject"),
        Column::number("instructions a pair"),
        Column::number("above"),
        Column::number("ratio"),
    ]);
    let mut counts = Vec::new();
    for workload in &options.workloads {
        eprintln!("counting {}", workload.name);
        let base = a_pair(&system, workload.name, &[])?;
        let off = a_pair(&heaptally, workload.name, &["--before-start"])?;
        let on = a_pair(&heaptally, workload.name, &[])?;
        for (subject, count) in [("system", base), (BEFORE_START, off), ("heaptally", on)] {
            let above_system = count.saturating_sub(base);
            let ratio = number::decimal(count as f64 / base as f64);
            let (workload, subject) = (workload.name.to_owned(), subject.to_owned());
            let numbers = [number::whole(count), number::whole(above_system), ratio];
            table.push([workload.clone(), subject.clone()].into_iter().chain(numbers).collect::<Vec<_>>());
            if subject != "system" {
                counts.push(Count { workload, subject, above_system });
            }
        }
    }
    println!("{}\n\n{}", machine::describe(&layout, words), table.markdown());
    let different = match options.expected {
        ExpectedCounts::Update => update(&layout, &counts),
        ExpectedCounts::Compare => judge(&layout, &counts),
    };
    let before_start = counts.iter().filter(|count| count.subject == BEFORE_START).map(|count| count.above_system);
    match before_start.max() {
        Some(most) if most > LIMIT_BEFORE_START => {
            Err(format!("a pair before start costs {most} above system, the limit is {LIMIT_BEFORE_START}"))
        }
        _ => different,
    }
}

fn update(layout: &Layout, counts: &[Count]) -> Result<(), String> {
    let path = Expected::path(layout);
    Expected { made_by: Toolchain::here(), counts: counts.to_vec() }.write(&path)?;
    println!("wrote {}", path.display());
    Ok(())
}

fn judge(layout: &Layout, counts: &[Count]) -> Result<(), String> {
    match Expected::read(&Expected::path(layout))?.judge(&Toolchain::here(), counts) {
        Verdict::Same(counts) => println!("{counts} counts are as expected"),
        Verdict::NotCompared(why) => println!("not compared with what is expected: {why}"),
        Verdict::Different(lines) => {
            return Err(format!("{}; if that is meant: instructions --update", lines.join("; ")));
        }
    }
    Ok(())
}

fn a_pair(program: &Path, workload: &str, more: &[&str]) -> Result<u64, String> {
    let [short, long] = LAPS.map(|laps| collected(program, workload, laps, more));
    let (short, long) = (short?, long?);
    let pairs = (LAPS[1] - LAPS[0]) * PAIRS_A_LAP;
    // Rounded: a lap has a few instructions around its pairs.
    Ok((long.saturating_sub(short) + pairs / 2) / pairs)
}

fn collected(program: &Path, workload: &str, laps: u64, more: &[&str]) -> Result<u64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"]);
    valgrind.arg(format!("--toggle-collect={COUNTED_FUNCTION}"));
    valgrind.arg(program).args([workload, "--laps", &laps.to_string()]).args(more);
    let (_, log) = process::both(&mut valgrind)?;
    match parse(&log) {
        Some(0) | None => Err(format!("valgrind counted nothing in {COUNTED_FUNCTION} of {}", program.display())),
        Some(count) => Ok(count),
    }
}

/// The number in callgrind's line `==7== Collected : 1467030`.
fn parse(log: &str) -> Option<u64> {
    let line = log.lines().find(|line| line.contains("Collected"))?;
    line.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_the_log() {
        assert_eq!(parse("==7== Events    : Ir\n==7== Collected : 1467030\n==7== \n"), Some(1_467_030));
        assert_eq!(parse("==7== error"), None);
    }
}
