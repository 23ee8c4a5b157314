//! What heaptally may take: its bounds, and what docs/metrics.md computes from what is in use of them.

use heaptally::{Losses, Overhead};

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;
/// Snapshots at one time, each with 136 bytes a stack: the reader's last and its next, one read back from its file, the
/// subscription's two, that of the peak and that of the line.
const SNAPSHOTS: u64 = 7;
/// "Tens of MiB".
const DEBUG_INFORMATION_BYTES: u64 = 64 * MIB;
/// Copies of the history, and what an export holds while it writes: a text for each frame of the service.
const READER_BYTES: u64 = 16 * MIB;
/// A page for each 128 KiB of addresses that have held blocks, 3.1 %: of 1 GiB.
const PAGE_MAP_BYTES: u64 = 32 * MIB;

/// Every bound beside its use.
///
/// # Errors
///
/// The first that is passed, and by how much.
pub(crate) fn check(overhead: &Overhead) -> Result<(), String> {
    let uses = [
        ("stacks", overhead.stacks, overhead.short_stacks_limit),
        ("frames", overhead.stack_nodes, overhead.stack_nodes_limit),
        ("thread states", overhead.threads, overhead.threads_limit),
        ("rules", overhead.rules, overhead.rules_limit),
        ("bytes of counters", overhead.counter_page_bytes, overhead.counter_page_limit_bytes),
        ("bytes of rings", overhead.ring_bytes, overhead.all_rings_limit_bytes),
        ("bytes of the history", overhead.history_bytes, overhead.history_limit_bytes),
        ("bytes of tables", overhead.arena_bytes, arena_bytes(overhead)),
        ("bytes of address space", overhead.arena_mapped_bytes, overhead.arena_limit_bytes),
        ("bytes of heap", overhead.internal_live_bytes, heap_bytes(overhead)),
        ("bytes of the page map", overhead.page_map_bytes, PAGE_MAP_BYTES),
    ];
    match uses.into_iter().find(|(_, used, limit)| used > limit) {
        Some((what, used, limit)) => Err(format!("{used} {what}, which may be {limit}")),
        None => Ok(()),
    }
}

/// What the tables come to, by "What that comes to" in docs/metrics.md: of what is in use, and pieces of 1 MiB.
pub(crate) fn arena_bytes(overhead: &Overhead) -> u64 {
    let states = overhead.threads * (147 * KIB + 4 * KIB * overhead.stacks.div_ceil(32_768));
    let stacks = overhead.stacks * (68 + 40);
    let frames = overhead.stack_nodes * 16;
    let hashes = match overhead.stacks {
        0..=20_000 => 2 * MIB,
        20_001..=200_000 => 22 * MIB,
        200_001..=1_000_000 => 86 * MIB,
        _ => 341 * MIB,
    };
    states + stacks + frames + hashes + overhead.counter_page_bytes + overhead.ring_bytes + 8 * MIB
}

/// What the aggregator's heap comes to, likewise.
pub(crate) fn heap_bytes(overhead: &Overhead) -> u64 {
    let stacks = overhead.stacks * (200 + 136 * SNAPSHOTS);
    overhead.stack_nodes * 19 + stacks + overhead.history_limit_bytes + DEBUG_INFORMATION_BYTES + READER_BYTES
}

/// The service is made so that stacks are cut and shortened, and nothing else is lost.
///
/// # Errors
///
/// What was lost beside these.
pub(crate) fn only_stacks_are_short(losses: &Losses) -> Result<(), String> {
    let mut others = *losses;
    (others.truncated_stacks, others.shortened_stacks) = (0, 0);
    if others.is_empty() { Ok(()) } else { Err(format!("lost: {others}")) }
}
