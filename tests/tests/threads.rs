//! Each living thread has a row of its own, from its begin on; one row has everything else, and all rows add up.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/settled.rs"]
mod settled;

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, Snapshot, Symbolize, TallyAlloc, ThreadRow};
use heaptally_tests::counts;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// Look-ups of names for one snapshot.
const LOOK_UPS: usize = 128;
/// More than std and the harness allocate for a thread.
const LARGE: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// A block of `bytes` that the optimizer cannot remove.
fn block(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(bytes)))
}

fn own_id() -> u32 {
    // SAFETY: no conditions.
    unsafe { libc::gettid() as u32 }
}

fn snapshot() -> Snapshot {
    quiet_snapshot().unwrap()
}

/// The one row of this name.
fn named<'a>(snapshot: &'a Snapshot, name: &str) -> &'a ThreadRow {
    let mut rows = snapshot.threads().iter().filter(|row| row.name() == name);
    let row = rows.next().unwrap_or_else(|| panic!("no thread {name} in {:?}", snapshot.threads()));
    assert!(rows.next().is_none(), "two threads {name} in {:?}", snapshot.threads());
    row
}

fn of_id(snapshot: &Snapshot, id: u32) -> Option<&ThreadRow> {
    snapshot.threads().iter().find(|row| row.os_id() == Some(id))
}

/// The row of the others, which is the last.
fn others(snapshot: &Snapshot) -> Counts {
    let row = snapshot.threads().last().unwrap();
    assert_eq!((row.name(), row.os_id()), ("(ended, or without counters)", None));
    row.counts()
}

fn sum_of_threads(snapshot: &Snapshot) -> Counts {
    snapshot.threads().iter().fold(Counts::ZERO, |sum, row| sum + row.counts())
}

fn start(symbolize: Symbolize) {
    heaptally::start(Config::new().modules(["threads"]).symbolize(symbolize)).unwrap();
}

#[test]
fn every_thread_has_its_own_numbers_from_its_begin_on() {
    settled::settled();
    assert!(heaptally::snapshot().threads().is_empty(), "threads are told apart from the start on");
    a_child_forked_before_start_has_its_own_threads_only();

    start(Symbolize::Full);
    threads_are_told_apart();
    blocks_count_where_they_are_freed();
    a_thread_with_the_state_of_another_begins_at_zero();
    what_a_thread_leaves_is_in_the_row_of_the_others();
    a_thread_may_change_its_name();
    names_of_many_threads_come_by_and_by();
    a_child_has_the_thread_that_forked_under_its_new_id();
    threads_are_listed_on_demand();
    rows_add_up_while_threads_come_and_go();
}

fn threads_are_told_apart() {
    let turn = Barrier::new(3);
    let allocate = |blocks: usize, bytes: usize| {
        // Begun.
        turn.wait();
        turn.wait();
        let kept: [_; 3] = std::array::from_fn(|place| (place < blocks).then(|| block(bytes)));
        drop(block(70));
        // Allocated.
        turn.wait();
        turn.wait();
        drop(kept);
        // Freed.
        turn.wait();
        turn.wait();
        own_id()
    };
    let allocate = &allocate;
    thread::scope(|scope| {
        let spawn = |name: &str, blocks, bytes| {
            Builder::new().name(name.to_owned()).spawn_scoped(scope, move || allocate(blocks, bytes)).unwrap()
        };
        let threads = [spawn("one", 3, 1_000), spawn("the other", 2, 500)];
        let at = || {
            turn.wait();
            let snapshot = snapshot();
            turn.wait();
            snapshot
        };
        let [begun, allocated, freed] = [at(), at(), at()];
        let ids = threads.map(|thread| thread.join().unwrap());
        for (name, id, allocation, free) in [
            ("one", ids[0], counts([4, 3_070], [1, 70]), counts([0, 0], [3, 3_000])),
            ("the other", ids[1], counts([3, 1_070], [1, 70]), counts([0, 0], [2, 1_000])),
        ] {
            let row = |snapshot| named(snapshot, name).counts();
            assert_eq!(named(&begun, name).os_id(), Some(id));
            assert_eq!(row(&allocated) - row(&begun), allocation, "{name}");
            assert_eq!(row(&freed) - row(&allocated), free, "{name}");
            // Before, they have done nothing but what std does.
            assert!(row(&begun).allocated_bytes < 10_000, "{:?}", row(&begun));
        }
        for snapshot in [begun, allocated, freed] {
            assert_eq!(sum_of_threads(&snapshot), snapshot.totals().counts());
            let allocated: Vec<u64> = snapshot.threads().iter().map(|row| row.counts().allocated_bytes).collect();
            assert!(allocated[..allocated.len() - 1].is_sorted_by(|more, less| more >= less), "{allocated:?}");
        }
    });
}

fn blocks_count_where_they_are_freed() {
    let (blocks, received) = channel::<[Vec<u8>; 2]>();
    let turn = &Barrier::new(2);
    thread::scope(|scope| {
        let body = move || {
            let blocks = received.recv().unwrap();
            turn.wait();
            turn.wait();
            drop(blocks);
            turn.wait();
            turn.wait();
        };
        Builder::new().name("freeing".to_owned()).spawn_scoped(scope, body).unwrap();
        blocks.send([block(LARGE), block(2 * LARGE)]).unwrap();
        turn.wait();
        let before = snapshot();
        turn.wait();
        turn.wait();
        let after = snapshot();
        turn.wait();
        let change = named(&after, "freeing").counts() - named(&before, "freeing").counts();
        assert_eq!(change, counts([0, 0], [2, 3 * LARGE as u64]));
        // It holds less than nothing.
        assert!(named(&after, "freeing").counts().live_bytes() < -2 * LARGE as i64);
        // And the thread that has allocated them has them still.
        let row = |snapshot| of_id(snapshot, own_id()).unwrap().counts();
        assert_eq!((row(&after) - row(&before)).freed_bytes / LARGE as u64, 0);
    });
}

/// Takes a snapshot on the calling thread while a thread of this name, which has allocated and freed `bytes`, waits.
fn while_one_waits(name: &str, bytes: usize) -> Snapshot {
    let turn = Barrier::new(2);
    thread::scope(|scope| {
        let body = || {
            drop(block(bytes));
            turn.wait();
            turn.wait();
        };
        let thread = Builder::new().name(name.to_owned()).spawn_scoped(scope, body).unwrap();
        turn.wait();
        let snapshot = snapshot();
        turn.wait();
        thread.join().unwrap();
        snapshot
    })
}

fn a_thread_with_the_state_of_another_begins_at_zero() {
    let large = LARGE as u64;
    let first = while_one_waits("first", LARGE);
    assert_eq!(named(&first, "first").counts().allocated_bytes / large, 1);
    let second = while_one_waits("second", 2 * LARGE);
    assert_eq!(first.overhead().threads, second.overhead().threads, "another state");
    let counted = named(&second, "second").counts();
    assert_eq!((counted.allocated_bytes / large, counted.freed_bytes / large), (2, 2));
    assert!(second.threads().iter().all(|row| row.name() != "first"));
}

fn what_a_thread_leaves_is_in_the_row_of_the_others() {
    let before = snapshot();
    let kept = thread::spawn(|| block(3 * LARGE)).join().unwrap();
    let after = snapshot();
    let change = others(&after) - others(&before);
    assert_eq!((change.allocated_bytes / LARGE as u64, change.freed_bytes / LARGE as u64), (3, 0));
    drop(kept);
}

fn a_thread_may_change_its_name() {
    let turn = Barrier::new(2);
    thread::scope(|scope| {
        let body = || {
            turn.wait();
            turn.wait();
            // SAFETY: a string with its end, of the calling thread.
            assert_eq!(unsafe { libc::pthread_setname_np(libc::pthread_self(), c"w\xF6rker".as_ptr()) }, 0);
            turn.wait();
            turn.wait();
        };
        Builder::new().name("a name of more than fifteen bytes".to_owned()).spawn_scoped(scope, body).unwrap();
        turn.wait();
        assert!(named(&snapshot(), "a name of more ").os_id().is_some());
        turn.wait();
        turn.wait();
        // Any bytes are a name; those that are no text are replaced.
        assert!(named(&snapshot(), "w\u{FFFD}rker").os_id().is_some());
        turn.wait();
    });
}

fn names_of_many_threads_come_by_and_by() {
    const THREADS: usize = 2 * LOOK_UPS;
    let turn = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let body = || {
                turn.wait();
                turn.wait();
            };
            Builder::new().stack_size(128 << 10).name(format!("many {number}")).spawn_scoped(scope, body).unwrap();
        }
        turn.wait();
        let known =
            |snapshot: &Snapshot| snapshot.threads().iter().filter(|row| row.name().starts_with("many ")).count();
        let rows = |snapshot: &Snapshot| snapshot.threads().len();
        let first = heaptally::snapshot();
        assert!(rows(&first) > THREADS && known(&first) <= LOOK_UPS, "{} of {}", known(&first), rows(&first));
        let unknown: Vec<&ThreadRow> = first.threads().iter().filter(|row| row.name().is_empty()).collect();
        assert!(unknown.len() >= LOOK_UPS && unknown.iter().all(|row| row.os_id().is_some()));
        // Two more are enough for all of them, and the few that were there before.
        drop(heaptally::snapshot());
        let third = snapshot();
        assert_eq!(known(&third), THREADS);
        assert_eq!(sum_of_threads(&third), third.totals().counts());
        turn.wait();
    });
}

fn a_child_has_the_thread_that_forked_under_its_new_id() {
    let (turn, parents_id) = (Barrier::new(2), own_id());
    thread::scope(|scope| {
        let body = || {
            turn.wait();
            turn.wait();
        };
        Builder::new().name("left behind".to_owned()).spawn_scoped(scope, body).unwrap();
        turn.wait();
        let before = snapshot();
        assert!(named(&before, "left behind").os_id().is_some());
        let counted_before = of_id(&before, parents_id).unwrap().counts();
        let outcome = child::run(|| {
            let kept = block(5 * LARGE);
            let snapshot = of_two_threads()?;
            let row = of_id(&snapshot, own_id()).ok_or("no row of the thread that forked")?;
            // It goes on where it was.
            let change = row.counts() - counted_before;
            drop(kept);
            if change.allocated_bytes / LARGE as u64 != 5 || change.freed_bytes / LARGE as u64 != 0 {
                return Err(format!("{change:?}"));
            }
            if sum_of_threads(&snapshot) != snapshot.totals().counts() {
                return Err(format!("{:?} of {:?}", snapshot.threads(), snapshot.totals()));
            }
            Ok(1)
        });
        turn.wait();
        assert_eq!(outcome, Ok(1));
        // The parent has the id that it had.
        assert!(of_id(&snapshot(), parents_id).is_some());
    });
}

/// Nobody could be told of that fork. The thread that starts asks for its id anew; the others are not there, as the system
/// says.
fn a_child_forked_before_start_has_its_own_threads_only() {
    let turn = Barrier::new(2);
    thread::scope(|scope| {
        let body = || {
            drop(block(LARGE));
            turn.wait();
            turn.wait();
        };
        Builder::new().name("left behind".to_owned()).spawn_scoped(scope, body).unwrap();
        turn.wait();
        let outcome = child::run(|| {
            start(Symbolize::Off);
            Ok((others(&of_two_threads()?).allocated_bytes / LARGE as u64) as u8)
        });
        turn.wait();
        assert_eq!(outcome, Ok(1), "the block of the thread that is not there");
    });
}

/// A snapshot of a child with two threads, the one that forked and the aggregator. A thread by which the child has tried
/// whether it may symbolize ends in its own time.
fn of_two_threads() -> Result<Snapshot, String> {
    let begun = Instant::now();
    loop {
        let snapshot = quiet_snapshot()?;
        let mut rows = snapshot.threads().iter().filter(|row| row.os_id().is_some());
        let (own, aggregator) = (of_id(&snapshot, own_id()), rows.clone().find(|row| row.name() == "heaptally"));
        if own.is_some() && aggregator.is_some() && rows.by_ref().count() == 2 {
            return Ok(snapshot);
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{:?}", snapshot.threads()));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn threads_are_listed_on_demand() {
    let snapshot = while_one_waits("listed", LARGE);
    let line = format!("  listed ({})\n", named(&snapshot, "listed").os_id().unwrap());
    assert!(format!("{snapshot:#}").contains(&line), "{snapshot:#}");
    assert!(!snapshot.to_string().contains(&line), "{snapshot}");
}

/// Each snapshot passes its check: the rows of threads are never above the totals.
fn rows_add_up_while_threads_come_and_go() {
    thread::scope(|scope| {
        let come_and_go = || {
            for _ in 0..200 {
                thread::spawn(|| drop(block(300))).join().unwrap();
            }
        };
        let threads = [(); 3].map(|()| scope.spawn(come_and_go));
        while threads.iter().any(|thread| !thread.is_finished()) {
            let snapshot = heaptally::snapshot();
            assert_eq!(snapshot.check(), Ok(()));
            // None has what an earlier owner of its state has counted, nor less than nothing.
            let most =
                snapshot.threads().iter().map(|row| row.counts().allocated_blocks.max(row.counts().freed_blocks));
            assert!(most.max() < Some(1 << 32), "{:?}", snapshot.threads());
        }
    });
    snapshot();
}
