//! What heaptally costs beside the time of allocations: each number the median of several processes.
//!
//! The programs are in benches/costs. The processes of a round run one after the other, so that what else the machine
//! does falls on all of them; those that begin on the system's allocator and on heaptally alternate.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cell::Summary;
use crate::cost::{Cost, PROCESSES};
use crate::layout::Layout;
use crate::options::CostsOptions;
use crate::sample::Reading;
use crate::table::{Column, Table};
use crate::{machine, number, process};

/// Begun programs for each round: they take milliseconds.
const BEGINS_A_ROUND: usize = 40;

/// # Errors
///
/// If a program does not build, or fails, or prints something else than it should.
pub(crate) fn costs(options: &CostsOptions, words: &[String]) -> Result<(), String> {
    let layout = Layout::find()?;
    let folder = build(&layout)?;
    let mut values = PROCESSES.map(|process| process.costs.iter().map(|_| Vec::new()).collect::<Vec<_>>());
    let mut begins = [Vec::new(), Vec::new()];
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for (process, values) in PROCESSES.iter().zip(&mut values) {
            let text = process::output(Command::new(folder.join("costs")).args(process.words))?;
            let readings = text.lines().map(Reading::parse).collect::<Result<Vec<_>, _>>()?;
            for (cost, values) in process.costs.iter().zip(values) {
                let reading = readings.iter().find(|reading| reading.metric.name == cost.metric);
                let missing = || format!("costs {} printed no {}", process.words.join(" "), cost.metric);
                values.push(reading.ok_or_else(missing)?.value);
            }
        }
        for _ in 0..BEGINS_A_ROUND {
            for (program, begins) in ["begin_system", "begin_heaptally"].iter().zip(&mut begins) {
                begins.push(begin_us(&folder.join(program))?);
            }
        }
    }

    let mut table = Table::new([
        Column::text("cost"),
        Column::text("unit"),
        Column::number("goal"),
        Column::number("median"),
        Column::number("min..max"),
        Column::number("runs"),
    ]);
    let begin = |what| Cost { metric: "", what, unit: "us", goal: None };
    for (what, begins) in ["process start to main, System", "process start to main, heaptally"].iter().zip(&begins) {
        table.push(row(&begin(what), begins));
    }
    let measured = PROCESSES.iter().zip(&values).flat_map(|(process, values)| process.costs.iter().zip(values));
    measured.for_each(|(cost, values)| table.push(row(cost, values)));
    println!("{}", machine::describe(&layout, words));
    println!("- method: medians; rounds: {}, and {BEGINS_A_ROUND} process starts in each\n", options.rounds);
    print!("{}", table.markdown());
    Ok(())
}

fn build(layout: &Layout) -> Result<PathBuf, String> {
    eprintln!("building costs");
    let mut cargo = layout.cargo();
    cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(layout.root.join("benches/costs/Cargo.toml"));
    process::output(cargo.arg("--target-dir").arg(&layout.target))?;
    Ok(layout.target.join("release"))
}

/// From before the process is made to its `main`, by the clock that all processes have.
fn begin_us(program: &Path) -> Result<f64, String> {
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    let text = process::output(&mut Command::new(program))?;
    let main: u64 = text.trim().parse().map_err(|_| format!("{}: printed {text}", program.display()))?;
    Ok((main as f64 - begun.as_nanos() as f64) / 1e3)
}

fn row(cost: &Cost, values: &[f64]) -> Vec<String> {
    let Summary { median, min, max } = Summary::of(values).expect("at least one round");
    vec![
        cost.what.to_owned(),
        cost.unit.to_owned(),
        cost.goal.map_or(String::new(), number::decimal),
        number::decimal(median),
        format!("{}..{}", number::decimal(min), number::decimal(max)),
        values.len().to_string(),
    ]
}
