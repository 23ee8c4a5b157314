//! A region counts what one thread, or all of them, allocate and free between two places: to the byte, started or not.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/settled.rs"]
mod settled;

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::hint::black_box;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use heaptally::{Config, Counts, ProcessRegion, Region, TallyAlloc, measure, measure_process};
use heaptally_tests::{assert_settles, counts};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const NOTHING: Counts = Counts::ZERO;

/// A block of `bytes` that the optimizer cannot remove.
fn block(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(bytes)))
}

#[test]
fn regions_count_what_their_thread_or_all_of_them_do_before_and_after_start() {
    settled::settled();
    without_tracking_no_function_is_known();
    regions_of_a_thread();

    let config = Config::new().modules(["measure_regions"]);
    let (of_this, of_all) = (Region::new(), ProcessRegion::new());
    let kept = block(1 << 20);
    heaptally::start(config).unwrap();
    drop(heaptally::snapshot());
    drop(kept);
    assert_eq!((of_this.change().allocated_bytes >> 20, of_this.change().freed_bytes >> 20), (1, 1));
    // The snapshot has looked up names, which takes heaptally megabytes; what std keeps for a new thread is the program's.
    assert_settles("the start is heaptally's", || (of_all.change().allocated_bytes >> 20, 1));
    assert_settles("all is freed", || (of_all.change().live_bytes() / 10_000, 0));

    regions_of_a_thread();
    regions_of_all_threads();
    a_report_names_the_functions();
    heaptally::tally().unwrap().pause();
    regions_of_a_thread();
    heaptally::tally().unwrap().resume();
    conserved::quiet_snapshot().unwrap();
}

fn regions_of_a_thread() {
    a_region_sees_what_follows_it();
    a_region_that_is_reset_begins_anew();
    regions_nest_and_overlap();
    measure_is_a_region();
    a_block_that_another_thread_frees_stays_live_in_the_region();
    a_region_outlives_the_counters_of_its_thread();
}

fn a_region_sees_what_follows_it() {
    let before = block(10);
    let region = Region::new();
    assert_eq!(region.change(), NOTHING);
    let kept = block(100);
    assert_eq!(region.change(), counts([1, 100], [0, 0]));
    // It goes on when it was asked.
    drop(block(28));
    assert_eq!(region.change(), counts([2, 128], [1, 28]));
    drop(before);
    drop(kept);
    assert_eq!(region.change(), counts([2, 128], [3, 138]));
    assert_eq!(region.change().live_bytes(), -10);
    // SAFETY: the layouts are not of size zero, and each block is used with the one that it has.
    unsafe {
        let [small, large] = [16, 4_000].map(|bytes| Layout::from_size_align(bytes, 8).unwrap());
        dealloc(realloc(black_box(alloc(small)), small, large.size()), large);
    }
    assert_eq!(region.change(), counts([4, 4_144], [5, 4_154]));
}

fn a_region_that_is_reset_begins_anew() {
    let mut region = Region::new();
    let kept = block(100);
    region.reset();
    assert_eq!(region.change(), NOTHING);
    drop(kept);
    assert_eq!(region.change(), counts([0, 0], [1, 100]));
    region.reset();
    assert_eq!(region.change(), NOTHING);
}

fn regions_nest_and_overlap() {
    let outer = Region::new();
    let first = block(1);
    let inner = Region::default();
    let second = block(20);
    let inner_change = inner.change();
    drop(first);
    assert_eq!(inner_change, counts([1, 20], [0, 0]));
    assert_eq!(outer.change(), counts([2, 21], [1, 1]));
    // The inner one ends later.
    drop(outer);
    drop(second);
    assert_eq!(inner.change(), counts([1, 20], [2, 21]));
}

fn measure_is_a_region() {
    let region = Region::new();
    let ((), measured) = measure(|| {
        drop(block(7));
        assert_eq!(region.change(), counts([1, 7], [1, 7]));
    });
    assert_eq!(measured, region.change());
}

fn a_block_that_another_thread_frees_stays_live_in_the_region() {
    let (blocks, received) = channel::<Vec<u8>>();
    let (answers, answered) = channel();
    let other = thread::spawn(move || {
        let region = Region::new();
        let block = received.recv().unwrap();
        let before = region.change();
        drop(block);
        answers.send(region.change() - before).unwrap();
    });
    let region = Region::new();
    let sent = block(5_000);
    assert_eq!(region.change(), counts([1, 5_000], [0, 0]));
    let before = region.change();
    blocks.send(sent).unwrap();
    assert_eq!(answered.recv().unwrap(), counts([0, 0], [1, 5_000]));
    // The channel may have allocated for itself; nobody has freed the block here.
    assert!((region.change() - before).freed_bytes < 5_000);
    other.join().unwrap();
}

/// A thread gives its counters back in the destructor of a pthread key. A region that is asked afterwards, in one of a
/// later round, says what was counted until then.
fn a_region_outlives_the_counters_of_its_thread() {
    struct AtTheEnd {
        key: libc::pthread_key_t,
        round: u32,
        region: Region,
        answer: Sender<Counts>,
    }
    /// Sets its key again until the last of glibc's four rounds.
    extern "C" fn at_the_end(value: *mut libc::c_void) {
        // SAFETY: the box that was given away below.
        let mut end = unsafe { Box::from_raw(value.cast::<AtTheEnd>()) };
        end.round += 1;
        if end.round < 4 {
            let key = end.key;
            // SAFETY: a live key; the box is the value's again.
            unsafe { libc::pthread_setspecific(key, Box::into_raw(end).cast()) };
        } else {
            end.answer.send(end.region.change()).unwrap();
        }
    }
    let mut key = 0;
    // SAFETY: writes the key, whose destructor has the right signature.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(at_the_end)) }, 0);
    let (answer, answered) = channel();
    thread::spawn(move || {
        let mut end = Box::new(AtTheEnd { key, round: 0, region: Region::new(), answer });
        end.region.reset();
        // SAFETY: a live key, whose destructor takes the box.
        assert_eq!(unsafe { libc::pthread_setspecific(key, Box::into_raw(end).cast()) }, 0);
        std::mem::forget(block(700));
    })
    .join()
    .unwrap();
    let change = answered.recv().unwrap();
    // SAFETY: nobody uses it any more.
    unsafe { libc::pthread_key_delete(key) };
    // Of what std has made for the thread, some is freed at its end.
    assert_eq!((change.allocated_blocks, change.allocated_bytes), (1, 700));
    assert!(change.freed_bytes < 10_000, "{change:?}");
}

fn without_tracking_no_function_is_known() {
    let advice =
        "to see by which functions: call heaptally::start, and begin with heaptally::ProcessRegion::with_sites";
    let region = Region::new();
    let of_all = ProcessRegion::with_sites();
    drop(block(1_000));
    let report = region.report();
    // The snapshot before the start is made by whoever asks for it.
    assert!(report.change().allocated_bytes >= 1_000 && report.diff().is_none());
    assert!(report.to_string().ends_with(advice), "{report}");
    let report = of_all.report();
    assert!(report.diff().is_none() && report.to_string().ends_with(advice), "{report}");
}

fn regions_of_all_threads() {
    settled::settled();
    let mut region = ProcessRegion::new();
    let ((), of_this) = measure(|| {
        let ((), counted) = measure_process(|| drop(block(3_000)));
        assert_eq!(counted, counts([1, 3_000], [1, 3_000]));
    });
    assert_eq!((of_this, region.change()), (counts([1, 3_000], [1, 3_000]), counts([1, 3_000], [1, 3_000])));

    region.reset();
    assert_eq!(region.change(), NOTHING);
    // Snapshots allocate megabytes, which are not the program's.
    let snapshot = heaptally::snapshot();
    assert_settles("a snapshot is no block of the program", || (region.change(), NOTHING));
    drop(snapshot);
    assert_settles("nor is it when it is dropped", || (region.change(), NOTHING));

    let kept = thread::spawn(|| block(2_000_000)).join().unwrap();
    // What std allocates for a thread is freed when that has ended.
    assert_settles("of another thread", || (region.change().live_bytes(), 2_000_000));
    let region = thread::spawn(move || {
        drop(kept);
        region
    })
    .join()
    .unwrap();
    assert_settles("freed by a third", || (region.change().live_bytes(), 0));
    assert!(region.change().freed_bytes >= 2_000_000);
}

#[inline(never)]
fn grow() -> [Vec<u8>; 3] {
    black_box([(); 3].map(|()| block(1_000)))
}

fn a_report_names_the_functions() {
    settled::settled();
    let mut region = ProcessRegion::with_sites();
    let kept = grow();
    let report = region.report();
    assert_eq!(report.change(), counts([3, 3_000], [0, 0]));
    let text = report.to_string();
    assert!(text.starts_with("allocated 3,000 bytes in 3 blocks, freed 0 bytes in 0 blocks"), "{text}");
    assert!(text.contains("measure_regions::"), "{text}");
    let grown: i64 =
        report.diff().unwrap().grew(9).iter().filter(|row| row.module().is_some()).map(|r| r.live_bytes()).sum();
    assert_eq!(grown, 3_000, "{text}");

    region.reset();
    drop(kept);
    let report = region.report();
    assert_eq!(report.change(), counts([0, 0], [3, 3_000]));
    assert!(report.to_string().contains("measure_regions::"), "{report}");
    // Begun without a snapshot.
    assert!(ProcessRegion::new().report().diff().is_none());
}
