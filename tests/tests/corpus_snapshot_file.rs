//! What the fuzzer of snapshot files has kept, and what it becomes by a few changes: see tests/fuzz.sh.
#![cfg(not(heaptally_portable))]

#[path = "../fuzz/src/replay.rs"]
mod replay;
#[path = "../fuzz/src/snapshot_file.rs"]
mod snapshot_file;

#[global_allocator]
static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();

#[test]
fn whatever_is_read_can_be_used_and_written_again() {
    replay::replay("snapshot_file", 30, snapshot_file::check);
}
