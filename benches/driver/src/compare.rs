//! The comparison by time: medians of several processes for each subject on each workload, in turn.
//!
//! A round runs every subject once on every workload, so that what else the machine does falls on all of them. Before
//! the rounds each runs once for less time, unmeasured: it is read from disk, and what cannot work is found out.

use std::path::PathBuf;
use std::time::Duration;

use crate::cell::{Cell, Summary};
use crate::inputs::Inputs;
use crate::layout::Layout;
use crate::machine;
use crate::number;
use crate::options::CompareOptions;
use crate::order::Order;
use crate::sample::Sample;
use crate::subject::Subject;
use crate::table::{Column, Table};
use crate::workload::Workload;

const WARM_UP: Duration = Duration::from_millis(50);

/// A cell with the names of its row, and the program if it was built.
struct Entry {
    workload: &'static Workload,
    subject: Subject,
    program: Option<PathBuf>,
    cell: Cell,
}

impl Entry {
    fn sample(&self, inputs: &Inputs, budget: Duration) -> Option<Result<Sample, String>> {
        let program = self.program.as_deref().filter(|_| self.cell.failure().is_none())?;
        Some(Sample::take(program, self.workload.name, inputs.path(self.workload.input), budget))
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
    println!("method   medians; processes for each cell: {}, in random order\n", options.rounds);
    print!("{}", table(&entries));
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
            let cell = program.as_ref().err().cloned().map_or_else(Cell::default, Cell::failed);
            entries.push(Entry { workload, subject: (*subject).clone(), program: program.clone().ok(), cell });
        }
    }
    entries
}

fn measure(entries: &mut [Entry], options: &CompareOptions, inputs: &Inputs) {
    eprintln!("warming up");
    for entry in entries.iter_mut() {
        if let Some(Err(error)) = entry.sample(inputs, WARM_UP) {
            entry.cell.fail(error);
        }
    }
    let mut order = Order::from_clock();
    let mut turns: Vec<usize> = (0..entries.len()).collect();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        order.shuffle(&mut turns);
        for &turn in &turns {
            let entry = &mut entries[turn];
            if let Some(sample) = entry.sample(inputs, options.budget) {
                entry.cell.add(sample);
            }
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
    for Entry { workload, subject, cell, .. } in entries {
        let name = [workload.name, &subject.name].map(str::to_owned);
        let Some(Summary { median, min, max }) = cell.summary() else {
            let why = cell.failure().unwrap_or("no process ran");
            table.push([&name[..], &[why.to_owned()]].concat());
            continue;
        };
        let spread = format!("{}..{}", number::decimal(min), number::decimal(max));
        let system = entries.iter().find(|entry| entry.workload == *workload && entry.subject.is_system());
        let ratio = system.and_then(|system| system.cell.summary()).map(|system| median / system.median);
        let numbers = [
            number::decimal(median),
            spread,
            cell.unit().to_owned(),
            cell.runs().to_string(),
            ratio.map_or("-".to_owned(), number::decimal),
        ];
        table.push([name.as_slice(), numbers.as_slice()].concat());
    }
    table
}
