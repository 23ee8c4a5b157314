//! The comparison by memory: resident bytes a block, of each allocator alone and of heaptally over it.
//!
//! A process for each cell and round, one at a time. Nothing is interleaved: what is resident does not depend on what
//! else the machine does.

use std::path::{Path, PathBuf};

use crate::cell::Cell;
use crate::footprint::{Footprint, Own};
use crate::layout::Layout;
use crate::loads::{Asked, Judged, LOADS, Load};
use crate::machine;
use crate::memory_table;
use crate::number;
use crate::options::MemoryOptions;
use crate::subject::{Pair, Subject};

/// A load on one pair of subjects.
pub(crate) struct Comparison {
    pub(crate) alone: Cell,
    /// The inner allocator alone, asked for blocks with room for a tag; of loads that are judged by it.
    pub(crate) with_tag: Option<Cell>,
    pub(crate) tracked: Cell,
}

impl Comparison {
    pub(crate) fn cells(&self) -> impl Iterator<Item = &Cell> {
        [Some(&self.alone), self.with_tag.as_ref(), Some(&self.tracked)].into_iter().flatten()
    }
}

/// A load on every pair.
pub(crate) struct Row {
    pub(crate) load: &'static Load,
    pub(crate) blocks: usize,
    pub(crate) comparisons: Vec<Comparison>,
}

/// A pair's programs, or why there is none.
struct Programs {
    alone: Result<PathBuf, String>,
    tracked: Result<PathBuf, String>,
}

/// # Errors
///
/// If a cell has no number; the others are printed all the same.
pub(crate) fn memory(options: &MemoryOptions, words: &[String]) -> Result<(), String> {
    let layout = Layout::find()?;
    let built = |subject: &Subject| subject.build(&layout).map_err(|error| error.why());
    let build = |pair: &Pair| Programs { alone: built(&pair.alone), tracked: built(&pair.tracked) };
    let programs: Vec<_> = options.pairs.iter().map(build).collect();
    let mut own = Own::default();
    let mut rows = Vec::new();
    for load in &LOADS {
        eprintln!("{}", load.name);
        let blocks = (load.blocks / options.fewer).max(1);
        let compared = programs.iter().map(|programs| compare(load, blocks, programs, options.rounds, &mut own));
        rows.push(Row { load, blocks, comparisons: compared.collect() });
    }

    println!("{}", machine::describe(&layout, words));
    println!(
        "- method: medians of resident bytes a block; processes for each cell: {}; no huge pages\n",
        options.rounds
    );
    print!("{}", memory_table::text(&options.pairs, &rows));
    println!(
        "heaptally's own memory: at most {} bytes, of which {} came while the blocks were made and may be in the numbers",
        number::whole(own.after_bytes),
        number::whole(own.grown_bytes)
    );
    let cells: Vec<_> = rows.iter().flat_map(|row| &row.comparisons).flat_map(Comparison::cells).collect();
    match cells.iter().filter(|cell| cell.failure().is_some()).count() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} cells have no number", cells.len())),
    }
}

fn compare(load: &Load, blocks: usize, programs: &Programs, rounds: usize, own: &mut Own) -> Comparison {
    let mut measure = |program: &Result<PathBuf, String>, asked| match program {
        Ok(program) => cell(program, &load.words(asked, blocks), rounds, own),
        Err(error) => Cell::failed(error.clone()),
    };
    let alone = measure(&programs.alone, Asked::Same);
    let with_tag = (load.judged == Judged::Tag).then(|| measure(&programs.alone, Asked::WithTag));
    let mut tracked = measure(&programs.tracked, Asked::Same);
    tracked.compare(&alone);
    Comparison { alone, with_tag, tracked }
}

fn cell(program: &Path, words: &[String], rounds: usize, own: &mut Own) -> Cell {
    let mut cell = Cell::default();
    for _ in 0..rounds {
        let footprint = Footprint::take(program, words);
        if let Ok(footprint) = &footprint {
            *own = own.max(footprint.own);
        }
        cell.add(footprint.map(|footprint| footprint.sample));
        if cell.failure().is_some() {
            break;
        }
    }
    cell
}
