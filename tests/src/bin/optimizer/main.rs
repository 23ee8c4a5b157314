//! A program whose blocks do not escape, to see that the optimizer leaves their tags alone.
//!
//! The harness `tests/optimizer.rs` builds it with and without link-time optimization and runs it, and beside it the
//! program `unlaundered`: the same shapes over an allocator that takes no precautions, whose tags are damaged.

use std::process::ExitCode;

use heaptally::TallyAlloc;

mod shapes;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const ROUNDS: u64 = 100;
/// Blocks that no compiler may leave out: in each round that of the growing vector, whose length it does not know, and
/// those that are read at an index that it does not know.
const LEAST_BLOCKS: u64 = ROUNDS * 10;

fn main() -> ExitCode {
    let outcome = all("before the start").and_then(|()| {
        heaptally::start(heaptally::config!()).map_err(|error| error.to_string())?;
        all("tracking")
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("optimizer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything, and sees that every block was freed under its own tag.
fn all(when: &str) -> Result<(), String> {
    let run = || (0..ROUNDS).fold(0, |sum: u64, round| sum.wrapping_add(every_shape(round)));
    let (sum, counts) = heaptally::measure(run);
    let snapshot = heaptally::snapshot();
    let unknown = snapshot.losses().unknown_frees.blocks;
    println!("{when}: {} blocks, {unknown} damaged, sum {sum}", counts.allocated_blocks);
    if unknown != 0 || counts.live_blocks() != 0 || counts.live_bytes() != 0 || counts.allocated_blocks < LEAST_BLOCKS {
        return Err(format!("{when}: {unknown} damaged tags, {counts:?}"));
    }
    snapshot.check().map_err(|violation| format!("{when}: {violation}"))
}

fn every_shape(round: u64) -> u64 {
    shapes::ALL.iter().fold(0, |sum: u64, (_, shape)| sum.wrapping_mul(31).wrapping_add(shape(round)))
}
