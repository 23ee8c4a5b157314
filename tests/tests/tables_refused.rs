//! Memory that is refused to heaptally alone, by the inner allocator to its aggregator or by the system to its tables:
//! the program goes on, blocks and bytes are counted, and what is missing is shown.
//!
//! Each case runs in a child of its own, since tracking starts once.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/own_mmap.rs"]
mod own_mmap;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_int;
use std::hint::black_box;
use std::ptr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use conserved::quiet_snapshot;
use heaptally::{Config, SiteKind, Symbolize, TallyAlloc, TickNumber};
use heaptally_tests::stacks;

#[global_allocator]
static ALLOC: TallyAlloc<Limited> = TallyAlloc::new(Limited);

/// The system's allocator for blocks of up to [`LARGEST_BLOCK_BYTES`].
struct Limited;

static LARGEST_BLOCK_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Mappings of this length are refused.
static REFUSED_MAPPING_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, or null.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST_BLOCK_BYTES.load(Ordering::Relaxed) {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(address, layout) }
    }
}

/// What [`own_mmap`] asks.
fn is_refused(len: usize, _kind: c_int) -> bool {
    len == REFUSED_MAPPING_BYTES.load(Ordering::Relaxed)
}

fn config() -> Config {
    Config::new().modules(["tables_refused"]).symbolize(Symbolize::Off).ring_bytes(64 << 20)
}

/// Allocates and frees 16 bytes on each of so many stacks.
fn on_stacks(count: usize) {
    (0..count).for_each(|number| stacks::at(number, 5, &mut || drop(black_box(Box::new(black_box([0_u64; 2]))))));
}

#[test]
fn a_snapshot_that_finds_no_memory_has_totals_and_says_so() {
    let outcome = child::run(|| {
        // A history would have made room for them before.
        heaptally::start(config().without_history()).map_err(|error| error.to_string())?;
        on_stacks(1000);
        // The counters of 1000 stacks take more.
        LARGEST_BLOCK_BYTES.store(4096, Ordering::SeqCst);
        let refused = heaptally::snapshot();
        LARGEST_BLOCK_BYTES.store(usize::MAX, Ordering::SeqCst);
        let one_row = refused.sites().len() == 1 && refused.sites()[0].kind() == SiteKind::NoStack;
        let exact = refused.check().is_ok() && refused.totals().counts() == refused.sites()[0].counts();
        let told = refused.notes().iter().any(|note| note.contains("memory"));
        // What was read from the rings meanwhile has no sites, nor have the stacks after it that are recorded as what is
        // new of it; every 64th is recorded in full.
        on_stacks(1000);
        let served = quiet_snapshot()?.sites().len() > 1000 - 64;
        if one_row && exact && told && served { Ok(0) } else { Err(refused.to_string()) }
    });
    assert_eq!(outcome, Ok(0));
}

#[test]
fn a_history_that_finds_no_memory_leaves_points_out() {
    let outcome = child::run(|| {
        let config = config().history_period(TickNumber::LENGTH);
        let tally = heaptally::start(config).map_err(|error| error.to_string())?;
        let wait_for = |points| {
            while tally.history().len() < points {
                thread::sleep(TickNumber::LENGTH / 10);
            }
        };
        let mut kept = Vec::with_capacity(1000);
        (0..1000).for_each(|number| stacks::at(number, 5, &mut || kept.push(Box::new(black_box([0_u64; 2])))));
        // Of the second at the latest the counters have room, and those after them.
        wait_for(3);
        // The 128 sites of a point take 7,168 bytes and a little.
        LARGEST_BLOCK_BYTES.store(7168, Ordering::SeqCst);
        let refused = [(); 2].map(|()| {
            let recorded = tally.history();
            thread::sleep(TickNumber::LENGTH * 4);
            recorded.len()
        });
        LARGEST_BLOCK_BYTES.store(usize::MAX, Ordering::SeqCst);
        wait_for(refused[1] + 2);
        drop(kept);
        // One may have been about to be recorded when memory was refused.
        if refused[1] <= refused[0] + 1 { Ok(0) } else { Err(format!("{refused:?} points")) }
    });
    assert_eq!(outcome, Ok(0));
}

#[test]
fn a_table_that_cannot_grow_takes_nothing_from_the_others() {
    /// More than the first three levels of the table of stacks, of 4,096, 16,384 and 65,536 slots, can hold.
    const STACKS: usize = 100_000;
    /// The fourth level, of 262,144 slots. (The third is as long as a chunk of the arena.)
    const LEVEL_BYTES: usize = 262_144 * 16;
    /// Their states take more than one chunk of the arena, of 1 MiB.
    const THREADS: usize = 24;
    let outcome = child::run(|| {
        heaptally::start(config()).map_err(|error| error.to_string())?;
        REFUSED_MAPPING_BYTES.store(LEVEL_BYTES, Ordering::SeqCst);
        let mut ids = [0; 2];
        for ids in &mut ids {
            on_stacks(STACKS);
            *ids = quiet_snapshot()?.overhead().stacks;
        }
        // A stack without a slot takes no id, again and again.
        if ids[0] >= STACKS as u64 || ids[1] != ids[0] {
            return Err(format!("{ids:?} stacks"));
        }
        let together = Barrier::new(THREADS);
        thread::scope(|scope| {
            (0..THREADS).for_each(|_| _ = scope.spawn(|| _ = together.wait()));
        });
        let last = quiet_snapshot()?;
        let losses = last.losses();
        let refused_others = (losses.threads_without_state, losses.ring_full);
        if losses.overflow_stacks == 0 || refused_others != (0, 0) { Err(format!("{losses:?}")) } else { Ok(0) }
    });
    assert_eq!(outcome, Ok(0));
}
