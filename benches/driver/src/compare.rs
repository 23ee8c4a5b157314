//! The comparison by time: medians of several processes for each subject on each workload, in turn.
//!
//! A round runs every subject once on every workload, so that what else the machine does falls on all of them. Before
//! the rounds each runs once for less time, unmeasured: it is read from disk, and what cannot work is found out.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cell::{Cell, Series, Summary};
use crate::inputs::Inputs;
use crate::layout::Layout;
use crate::machine;
use crate::number;
use crate::options::CompareOptions;
use crate::order::Order;
use crate::sample::{Limits, Sample};
use crate::subject::{NoProgram, Subject};
use crate::table::{Column, Table};
use crate::workload::Workload;

const WARM_UP: Duration = Duration::from_millis(50);

/// A cell with the names of its row, and the program if it was built.
struct Entry {
    workload: &'static Workload,
    subject: Subject,
    program: Option<PathBuf>,
    cell: Cell,
    /// The time of its processes.
    spent: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Counts {
    /// The process that warms up counts if there will be no other: its lap took the time of all.
    IfLong,
    Always,
}

impl Entry {
    /// Runs one more process, unless the cell has none to run. What counts is added to the cell.
    fn run(&mut self, inputs: &Inputs, options: &CompareOptions, counts: Counts) {
        let Some(program) = self.program.as_deref().filter(|_| self.cell.gap().is_none()) else { return };
        if self.spent >= options.cell_budget {
            return;
        }
        let budget = if counts == Counts::IfLong { WARM_UP } else { options.budget };
        let limits = Limits { budget, process: options.process_limit };
        let begun = Instant::now();
        let input = inputs.path(self.workload.input);
        let sample = Sample::take(&self.subject, program, self.workload.name, input, limits);
        self.spent += begun.elapsed();
        match sample.transpose() {
            Some(Ok(_)) if counts == Counts::IfLong && self.spent < options.cell_budget => {}
            Some(sample) => self.cell.add(sample),
            None => {
                let seconds = options.process_limit.as_secs();
                self.cell.leave_out(format!("took longer than {seconds} s for a lap and the one that warms up"));
            }
        }
    }
}

/// # Errors
///
/// If a row has no numbers; the others are printed all the same.
pub(crate) fn compare(options: &CompareOptions, words: &[String]) -> Result<(), String> {
    let layout = Layout::find()?;
    let inputs = Inputs::prepare(&options.workloads, &layout)?;
    let mut entries = entries(options, &layout);
    measure(&mut entries, options, &inputs);
    check_work(&mut entries);

    println!("{}", machine::describe(&layout, words));
    println!(
        "method   medians; processes for each cell: {}, or as many as fit in {} s, in random order\n",
        options.rounds,
        options.cell_budget.as_secs()
    );
    print!("{}\n{}\n", table(&entries), subjects(options, &layout));
    for note in &inputs.notes {
        println!("{note}");
    }
    match entries.iter().filter(|entry| entry.cell.failure().is_some()).count() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} rows have no numbers", entries.len())),
    }
}

fn entries(options: &CompareOptions, layout: &Layout) -> Vec<Entry> {
    let built: Vec<_> = options.subjects.iter().map(|subject| (subject, subject.build(layout))).collect();
    let mut entries = Vec::new();
    for &workload in &options.workloads {
        for (subject, program) in &built {
            let mut cell = Cell::default();
            match program {
                Ok(_) => {}
                Err(NoProgram::NotInstalled(what)) => cell.leave_out((*what).to_owned()),
                Err(error) => cell.fail(error.why()),
            }
            let (subject, program) = (**subject, program.clone().ok());
            entries.push(Entry { workload, subject, program, cell, spent: Duration::ZERO });
        }
    }
    entries
}

fn measure(entries: &mut [Entry], options: &CompareOptions, inputs: &Inputs) {
    eprintln!("warming up");
    entries.iter_mut().for_each(|entry| entry.run(inputs, options, Counts::IfLong));
    let mut order = Order::from_clock();
    let mut turns: Vec<usize> = (0..entries.len()).collect();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        order.shuffle(&mut turns);
        for &turn in &turns {
            entries[turn].run(inputs, options, Counts::Always);
        }
    }
}

/// Fails the cells whose checksum is not System's, or the first subject's where System is left out. System's row
/// becomes the first of its workload.
fn check_work(entries: &mut [Entry]) {
    for group in entries.chunk_by_mut(|a, b| a.workload == b.workload) {
        let reference = group.iter().position(|entry| entry.subject.is_system()).unwrap_or(0);
        group.swap(0, reference);
        let (reference, others) = group.split_first_mut().expect("a chunk is not empty");
        others.iter_mut().for_each(|entry| entry.cell.compare(&reference.cell));
    }
}

/// What each subject keeps.
fn subjects(options: &CompareOptions, layout: &Layout) -> Table {
    let mut table = Table::new([Column::text("subject"), Column::text("version"), Column::text("keeps")]);
    for subject in &options.subjects {
        table.push([subject.name.to_owned(), subject.version(layout), subject.keeps.to_owned()]);
    }
    table
}

fn table(entries: &[Entry]) -> Table {
    let mut table = Table::new([
        Column::text("workload"),
        Column::text("subject"),
        Column::number("median"),
        Column::number("min..max"),
        Column::text("unit"),
        Column::number("runs"),
        Column::number("ratio to system"),
    ]);
    for group in entries.chunk_by(|a, b| a.workload == b.workload) {
        // One metric after the other, each of all subjects. What has no numbers has one row.
        let metrics = group.iter().map(|entry| entry.cell.series().len()).max().unwrap_or(0).max(1);
        for metric in 0..metrics {
            for entry in group {
                match entry.cell.series().get(metric) {
                    Some(series) => table.push(row(entry, series, metric, group)),
                    None if metric == 0 => {
                        let why = entry.cell.gap().unwrap_or("no process ran");
                        table.push([entry.workload.name, entry.subject.name, why].map(str::to_owned));
                    }
                    None => {}
                }
            }
        }
    }
    table
}

fn row(entry: &Entry, series: &Series, metric: usize, group: &[Entry]) -> Vec<String> {
    let Summary { median, min, max } = series.summary().expect("a series has values");
    let system = group.iter().find(|entry| entry.subject.is_system());
    let system = system.and_then(|system| system.cell.series().get(metric)).and_then(Series::summary);
    let ratio = system.map(|system| series.metric.ratio(median, system.median));
    let alone = entry.cell.series().len() == 1;
    let workload = entry.workload.name;
    vec![
        if alone { workload.to_owned() } else { format!("{workload}.{}", series.metric.name) },
        entry.subject.name.to_owned(),
        number::decimal(median),
        format!("{}..{}", number::decimal(min), number::decimal(max)),
        series.metric.unit.clone(),
        series.runs().to_string(),
        ratio.map_or("-".to_owned(), number::decimal),
    ]
}
