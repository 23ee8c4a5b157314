//! What heaptally itself takes and what it lost, gathered for a snapshot.
//!
//! Run by the aggregator, after the counters were read.
#![allow(unsafe_code, reason = "two numbers come from libc")]

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use heaptally_capture::{PROCESS, Registry, StackId, UNWOUND_RANGES, Unwinder, census, page_map, tag};
use heaptally_profile::{Captures, Counts, Losses, Overhead, Totals, UnknownFrees};

use super::stack_store::STORE;

const _: () = assert!(Captures::UNWOUND_RANGES.len() == UNWOUND_RANGES);

pub(crate) fn losses(unknown_frees: Counts) -> Losses {
    let counters = &PROCESS.losses;
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut losses = Losses::default();
    losses.unknown_frees = UnknownFrees {
        blocks: unknown_frees.freed_blocks,
        bytes: unknown_frees.freed_bytes,
        last_address: get(&counters.last_unknown_address),
        last_size: get(&counters.last_unknown_size),
    };
    losses.no_stack_nested = get(&counters.nested);
    losses.abandoned = get(&counters.abandoned);
    losses.no_stack_failed = get(&counters.capture_failed);
    losses.truncated_stacks = get(&counters.truncated_stacks);
    losses.overflow_stacks = get(&counters.stacks_full);
    losses.shortened_stacks = get(&counters.shortened_stacks);
    losses.ring_full = get(&counters.ring_full);
    losses.unstored_stacks = get(&counters.unstored_stacks);
    losses.unknown_ages = get(&counters.unknown_ages);
    losses.refused_by_arena_limit = PROCESS.arena.refused_by_limit();
    losses.failed_mappings = PROCESS.arena.failed_mappings();
    losses.threads_without_state = PROCESS.registry.threads_without_state();
    losses
}

/// What is in use of memory and bounds; the times are the caller's to fill in.
pub(crate) fn overhead(internal: Counts, totals: Totals) -> Overhead {
    let mut overhead = Overhead::default();
    overhead.arena_bytes = PROCESS.arena.handed_out_bytes() as u64;
    overhead.arena_mapped_bytes = PROCESS.arena.mapped_bytes() as u64;
    overhead.arena_limit_bytes = PROCESS.arena.limit_bytes() as u64;
    overhead.internal_live_bytes = internal.live_bytes().max(0) as u64;
    // Totals that cannot be are for `Snapshot::check` to tell of.
    overhead.tag_bytes = totals.live_blocks().wrapping_mul(tag::TAG_BYTES as u64);
    overhead.page_map_bytes = page_map::resident_bytes() as u64;
    overhead.threads = PROCESS.registry.states() as u64;
    overhead.threads_limit = Registry::LIMIT as u64;
    // Pseudo-rows have ids too, and are no stacks.
    let stacks = |ids: u32| u64::from(ids) - StackId::FIRST_REAL.index() as u64;
    overhead.stacks = stacks(PROCESS.stacks.issued());
    overhead.stacks_limit = stacks(PROCESS.stacks.full_limit());
    overhead.short_stacks_limit = stacks(PROCESS.stacks.limit());
    overhead.stack_nodes = u64::from(STORE.len()) - 1;
    overhead.stack_nodes_limit = u64::from(STORE.limit());
    overhead.rules = u64::from(PROCESS.unwinder.rules());
    overhead.rules_limit = Unwinder::MOST_RULES as u64;
    overhead.counter_page_bytes = PROCESS.pages.used_bytes() as u64;
    overhead.counter_page_limit_bytes = PROCESS.pages.limit_bytes() as u64;
    overhead.ring_bytes = PROCESS.segments.bytes() as u64;
    overhead.all_rings_limit_bytes = PROCESS.segments.limit_bytes() as u64;
    overhead.ring_limit_bytes = PROCESS.ring_limit_bytes.load(Ordering::Relaxed) as u64;
    overhead
}

/// How stacks were taken so far, by all threads.
pub(crate) fn captures() -> Captures {
    let mut captures = Captures::default();
    for counts in census::captures() {
        for (sum, counter) in captures.by_unwound.iter_mut().zip(&counts.by_unwound) {
            *sum += counter.get();
        }
        captures.fresh += counts.fresh.get();
        captures.truncated += counts.truncated.get();
        let [unavailable, complex_frame, registered_code, too_many_modules] = &counts.fallbacks;
        captures.unavailable += unavailable.get();
        captures.complex_frame += complex_frame.get();
        captures.registered_code += registered_code.get();
        captures.too_many_modules += too_many_modules.get();
        captures.implausible += counts.implausible.get();
        captures.verified += counts.verified.get();
        captures.mismatched += counts.mismatched.get();
    }
    let [reused, unwound @ ..] = captures.by_unwound;
    captures.reused = reused;
    // Threads go on capturing while this adds up; a fresh capture may be read and not its number of frames.
    captures.joined = unwound.iter().sum::<u64>().saturating_sub(captures.fresh);
    captures
}

/// Bytes of the process that are in memory, as the kernel counts them.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf only reads.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page_bytes).ok()?)
}

/// Processor time of the calling thread.
pub(crate) fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
