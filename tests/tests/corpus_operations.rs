//! What the fuzzer of allocations has kept, and what it becomes by a few changes: see tests/fuzz.sh.
#![cfg(not(heaptally_portable))]

use heaptally_tests::{Watched, watched};
use operations::Model;

#[path = "../fuzz/src/operations.rs"]
mod operations;
#[path = "../fuzz/src/replay.rs"]
mod replay;

#[global_allocator]
static ALLOC: Watched = watched();

/// One process, so one test: tracking is started once.
#[test]
fn blocks_and_numbers_are_the_models_after_every_round() {
    let mut model = Model::start();
    replay::replay("operations", 3, |input| model.check(input));
}
