//! More stacks than heaptally was told to keep: the first ones are whole, further ones are kept by their ends and charged
//! as before, and only what finds no room for that either shares a row. No byte is lost.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;

use std::ffi::c_void;
use std::hint::black_box;
use std::{mem, ptr};

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, Site, SiteKind, Snapshot, TallyAlloc};
use heaptally_tests::stacks;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const STACKS: usize = 1000;
const BLOCK_BYTES: usize = 100;
/// Frames that are kept of a stack past the limit.
const SHORT_FRAMES: usize = 16;

/// Runs `body` in a process of its own, since tracking starts once.
#[track_caller]
fn in_a_child(config: Config, body: impl FnOnce() -> Result<(), String>) {
    let outcome = child::run(|| {
        heaptally::start(config.modules(["stack_limit"])).map_err(|error| error.to_string())?;
        body().map(|()| 0)
    });
    assert_eq!(outcome, Ok(0));
}

/// A block from each of [`STACKS`] stacks, which differ in their outermost or, of three digits, in all calls.
fn keep(digits: u32) -> Vec<Vec<u8>> {
    let mut kept = Vec::with_capacity(STACKS);
    (0..STACKS).for_each(|number| stacks::at(number, digits, &mut || kept.push(leaf())));
    kept
}

#[inline(never)]
fn leaf() -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(BLOCK_BYTES)))
}

fn counts(snapshot: &Snapshot, function: &str) -> Counts {
    snapshot.function(function).map_or(Counts::ZERO, |row| row.counts())
}

fn sites<'a>(snapshot: &'a Snapshot, function: &'a str) -> impl Iterator<Item = &'a Site> {
    snapshot.sites().iter().filter(move |site| site.function() == function)
}

fn is_truncated(site: &Site) -> bool {
    site.frames().last().is_some_and(|frame| &*frame.lines[0].function == "(truncated)")
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} is not {expected:?}")) }
}

const ALL: Counts = Counts {
    allocated_blocks: STACKS as u64,
    allocated_bytes: (STACKS * BLOCK_BYTES) as u64,
    freed_blocks: 0,
    freed_bytes: 0,
};
const ALL_FREED: Counts = Counts { freed_blocks: ALL.allocated_blocks, freed_bytes: ALL.allocated_bytes, ..ALL };

#[test]
fn stacks_beyond_the_limit_keep_their_owner_by_their_innermost_frames() {
    const LIMIT: u64 = 10;
    // Their ends are alike: twelve digits are 24 calls, and the first three differ.
    in_a_child(Config::new().max_stacks(LIMIT as u32), || {
        let kept = keep(12);
        // Once more, by way of the thread's cache.
        drop(keep(12));
        let snapshot = quiet_snapshot()?;
        let twice = Counts { allocated_blocks: 2 * ALL.allocated_blocks, ..ALL_FREED };
        let twice = Counts { allocated_bytes: 2 * ALL.allocated_bytes, ..twice };
        expect("leaf", counts(&snapshot, "stack_limit::leaf"), twice)?;
        expect("overflow", counts(&snapshot, SiteKind::Overflow.label()), Counts::ZERO)?;
        let (whole, short): (Vec<_>, Vec<_>) =
            sites(&snapshot, "stack_limit::leaf").partition(|site| !is_truncated(site));
        println!("{} whole, {} short", whole.len(), short.len());
        if whole.len() > LIMIT as usize || short.is_empty() || short.len() > 2 {
            return Err(format!("{} whole, {} short", whole.len(), short.len()));
        }
        for site in short {
            expect("frames, and what stands for the rest", site.frames().count(), SHORT_FRAMES + 1)?;
        }
        let (overhead, losses) = (snapshot.overhead(), snapshot.losses());
        expect("limit", overhead.stacks_limit, LIMIT)?;
        // Some of them may be no deeper than what is kept.
        if losses.shortened_stacks == 0 || losses.shortened_stacks > overhead.stacks - LIMIT {
            return Err(format!("{losses:?}, {overhead:?}"));
        }
        expect("overflow, counted", (losses.overflow_stacks, losses.truncated_stacks), (0, 0))?;
        drop(kept);
        let freed = Counts { freed_blocks: twice.allocated_blocks, freed_bytes: twice.allocated_bytes, ..twice };
        expect("freed", counts(&quiet_snapshot()?, "stack_limit::leaf"), freed)
    });
}

#[test]
fn stacks_beyond_both_limits_are_counted_in_one_row() {
    for config in [Config::new().max_stacks(40).max_short_stacks(0), Config::new().max_stacks(0).max_short_stacks(40)] {
        in_a_child(config, || {
            let kept = keep(3);
            let snapshot = quiet_snapshot()?;
            let overhead = snapshot.overhead();
            expect("stacks", (overhead.stacks, overhead.short_stacks_limit), (40, 40))?;
            let overflow = counts(&snapshot, SiteKind::Overflow.label());
            if overflow.live_blocks() < STACKS as i64 - 40 {
                return Err(format!("{overflow:?}"));
            }
            expect("counted", snapshot.losses().overflow_stacks, overflow.allocated_blocks)?;
            let own = counts(&snapshot, "stack_limit::leaf");
            if own == Counts::ZERO {
                return Err("no row for those that found room".to_owned());
            }
            drop(kept);
            let freed = counts(&quiet_snapshot()?, SiteKind::Overflow.label()).freed_bytes;
            expect("freed", freed >= (STACKS * BLOCK_BYTES) as u64 - own.allocated_bytes, true)
        });
    }
}

#[test]
fn when_the_store_fills_up_ends_are_kept() {
    const NODES: u64 = 2000;
    in_a_child(Config::new().max_stack_nodes(NODES as u32), || {
        // A snapshot brings what is new to the store, which then says that no more whole stacks are wanted.
        let mut kept = Vec::with_capacity(STACKS);
        while heaptally::snapshot().overhead().stack_nodes < NODES / 4 * 3 {
            stacks::at(kept.len(), 12, &mut || kept.push(leaf()));
        }
        let whole = kept.len();
        (whole..STACKS).for_each(|number| stacks::at(number, 12, &mut || kept.push(leaf())));
        let snapshot = quiet_snapshot()?;
        expect("leaf", counts(&snapshot, "stack_limit::leaf"), ALL)?;
        let losses = snapshot.losses();
        expect("lost", (losses.unstored_stacks, losses.overflow_stacks, losses.shortened_stacks > 0), (0, 0, true))?;
        let short = sites(&snapshot, "stack_limit::leaf").filter(|site| is_truncated(site));
        let blocks: u64 = short.map(|site| site.counts().allocated_blocks).sum();
        expect("in rows of ends", blocks, (STACKS - whole) as u64)
    });
}

#[test]
fn a_stack_of_few_frames_is_itself_beyond_the_limit() {
    extern "C" fn of_a_thread(_: *mut c_void) -> *mut c_void {
        drop(black_box(shallow()));
        ptr::null_mut()
    }
    #[inline(never)]
    fn shallow() -> Vec<u8> {
        black_box(Vec::with_capacity(black_box(BLOCK_BYTES)))
    }
    in_a_child(Config::new().max_stacks(0), || {
        // Not by std: under its frames there would be too many.
        // SAFETY: the function takes nothing and returns; the thread is joined once.
        let ended = unsafe {
            let mut thread = mem::zeroed();
            libc::pthread_create(&raw mut thread, ptr::null(), of_a_thread, ptr::null_mut()) == 0
                && libc::pthread_join(thread, ptr::null_mut()) == 0
        };
        expect("thread", ended, true)?;
        let snapshot = quiet_snapshot()?;
        let own: Vec<&Site> = snapshot.sites().iter().filter(|site| site.function().contains("shallow")).collect();
        let one = Counts { allocated_blocks: 1, allocated_bytes: 100, freed_blocks: 1, freed_bytes: 100 };
        expect("counts", own.iter().map(|site| site.counts()).collect(), vec![one])?;
        expect("cut", is_truncated(own[0]), false)
    });
}
