//! The comparison by time: medians of several processes for each subject on each workload, in turn.
//!
//! A round runs every subject once on every workload, so that what else the machine does falls on all of them. Before
//! the rounds each runs once for less time, unmeasured: it is read from disk, and what cannot work is found out.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::baseline;
use crate::cell::{Cell, Series};
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::layout::Layout;
use crate::machine;
use crate::options::{CompareOptions, Extent};
use crate::order::Order;
use crate::record::{Kept, Measured, Method, Outcome, Record, Row};
use crate::report;
use crate::sample::{Limits, Sample};
use crate::subject::{NoProgram, Subject};
use crate::workload::Workload;

const WARM_UP: Duration = Duration::from_millis(50);

/// A cell with the names of its row, and the program if it was built.
struct Entry {
    workload: &'static Workload,
    subject: Subject,
    program: Option<PathBuf>,
    cell: Cell,
    /// Of the process that warms up. It counts if there is no other: then its lap took all the time that there was.
    warm_up: Option<Sample>,
    /// The time of its processes.
    spent: Duration,
}

impl Entry {
    /// Runs one more process, unless the cell has none to run or its time is over.
    fn run(&mut self, inputs: &Inputs, options: &CompareOptions, budget: Duration) -> Option<Sample> {
        let program = self.program.as_deref().filter(|_| self.cell.gap().is_none())?;
        if self.spent >= options.cell_budget {
            return None;
        }
        let limits = Limits { budget, process: options.process_limit };
        let begun = Instant::now();
        let input = inputs.path(self.workload.input);
        let sample = Sample::take(&self.subject, program, self.workload.name, input, limits);
        self.spent += begun.elapsed();
        match sample {
            Ok(Some(sample)) => return Some(sample),
            Ok(None) => {
                let seconds = options.process_limit.as_secs();
                self.cell.leave_out(format!("took longer than {seconds} s for a lap and the one that warms up"));
            }
            Err(error) => self.cell.fail(error),
        }
        None
    }

    /// When no more processes will be run.
    fn settle(&mut self) {
        if self.cell.gap().is_some() || !self.cell.series().is_empty() {
            return;
        }
        match self.warm_up.take() {
            Some(sample) => self.cell.add(Ok(sample)),
            None => self.cell.leave_out("there was no time left: take fewer with --only or --subjects".to_owned()),
        }
    }
}

/// # Errors
///
/// If a file that is named is no good, before anything is built. If a row has no numbers or is a regression; all is
/// printed and written all the same.
pub(crate) fn compare(options: &CompareOptions, words: &[String]) -> Result<(), Failure> {
    let baseline = options.baseline.as_deref().map(Record::read).transpose();
    let baseline = baseline.map_err(|error| Failure::Refused(format!("--baseline: {error}")))?;
    options.outputs.check().map_err(Failure::Refused)?;
    let layout = Layout::find()?;
    let inputs = Inputs::prepare(&options.workloads, options.extent, &layout)?;
    let mut entries = entries(options, &layout);
    measure(&mut entries, options, &inputs);
    check_work(&mut entries);

    let method = Method {
        quick: options.extent == Extent::Quick,
        rounds: options.rounds,
        budget_ms: options.budget.as_millis() as u64,
        cell_budget_ms: options.cell_budget.as_millis() as u64,
    };
    let conditions = machine::describe(&layout, words);
    let record = Record::new(conditions, method, rows(&entries), inputs.notes, kept(options, &layout));
    print!("{}", report::markdown(&record));
    let mut judged = Ok(());
    if let Some(baseline) = baseline {
        let comparison = baseline::compare(&baseline, &record);
        print!("\n{}", comparison.markdown(&baseline, options.fail_above));
        judged = options.fail_above.map_or(Ok(()), |percent| comparison.judge(percent));
    }
    options.outputs.write(&record)?;
    let failed = entries.iter().filter(|entry| entry.cell.failure().is_some()).count();
    if failed > 0 {
        return Err(Failure::Found(format!("{failed} of {} cells have no numbers, see above", entries.len())));
    }
    Ok(judged?)
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
            entries.push(Entry { workload, subject, program, cell, warm_up: None, spent: Duration::ZERO });
        }
    }
    entries
}

fn measure(entries: &mut [Entry], options: &CompareOptions, inputs: &Inputs) {
    let begun = Instant::now();
    let is_over = || begun.elapsed() >= options.whole_budget;
    let warm_up = WARM_UP.min(options.budget);
    for group in entries.chunk_by_mut(|a, b| a.workload == b.workload) {
        eprintln!("warming up {}", group[0].workload.name);
        for entry in group.iter_mut().take_while(|_| !is_over()) {
            entry.warm_up = entry.run(inputs, options, warm_up);
        }
    }
    let mut order = Order::from_clock();
    let mut turns: Vec<usize> = (0..entries.len()).collect();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}, after {} s", options.rounds, begun.elapsed().as_secs());
        order.shuffle(&mut turns);
        for &turn in turns.iter().take_while(|_| !is_over()) {
            if let Some(sample) = entries[turn].run(inputs, options, options.budget) {
                entries[turn].cell.add(Ok(sample));
            }
        }
    }
    eprintln!("measured for {} s", begun.elapsed().as_secs());
    entries.iter_mut().for_each(Entry::settle);
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
fn kept(options: &CompareOptions, layout: &Layout) -> Vec<Kept> {
    let kept = |subject: &Subject| Kept {
        subject: subject.name.to_owned(),
        version: subject.version(layout),
        keeps: subject.keeps.to_owned(),
        role: subject.role(),
    };
    options.subjects.iter().map(kept).collect()
}

/// One metric after the other, each of all subjects. What has no numbers has one row.
fn rows(entries: &[Entry]) -> Vec<Row> {
    let mut rows = Vec::new();
    for group in entries.chunk_by(|a, b| a.workload == b.workload) {
        let row = |entry: &Entry, outcome| Row {
            workload: entry.workload.name.to_owned(),
            subject: entry.subject.name.to_owned(),
            outcome,
        };
        let metrics = group.iter().map(|entry| entry.cell.series().len()).max().unwrap_or(0).max(1);
        for metric in 0..metrics {
            for entry in group {
                match entry.cell.series().get(metric) {
                    Some(series) => rows.extend(measured(series, metric, group).map(|outcome| row(entry, outcome))),
                    None if metric == 0 => rows.push(row(entry, missing(&entry.cell))),
                    None => {}
                }
            }
        }
    }
    rows
}

fn measured(series: &Series, metric: usize, group: &[Entry]) -> Option<Outcome> {
    let summary = series.summary()?;
    let system = group.iter().find(|entry| entry.subject.is_system());
    let system = system.and_then(|system| system.cell.series().get(metric)).and_then(Series::summary);
    let ratio = system.map(|system| series.metric.ratio(summary.median, system.median));
    // Of a time that is zero there is none.
    let ratio = ratio.filter(|ratio| ratio.is_finite());
    Some(Outcome::Measured(Measured::new(series.metric.clone(), summary, ratio, series.values.clone())))
}

fn missing(cell: &Cell) -> Outcome {
    let reason = cell.gap().unwrap_or("no process ran").to_owned();
    Outcome::Missing { reason, failed: cell.failure().is_some() }
}
