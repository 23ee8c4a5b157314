//! When blocks were born, how old they are when they go, and which of them go at once.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Config, Lifetimes, Row, Snapshot, TallyAlloc, TickNumber};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// One block of each size.
#[inline(never)]
fn old([small, large, larger]: [usize; 3]) -> [Vec<u8>; 3] {
    black_box([Vec::with_capacity(small), Vec::with_capacity(large), Vec::with_capacity(larger)])
}

#[inline(never)]
fn brief(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(bytes)))
}

#[inline(never)]
fn crossed(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(bytes)))
}

#[inline(never)]
fn grown() -> Vec<u64> {
    let mut numbers = Vec::with_capacity(black_box(4));
    numbers.extend(0..black_box(5));
    black_box(numbers)
}

fn row(snapshot: &Snapshot, function: &str) -> Row {
    let name = format!("lifetimes::{function}");
    snapshot.function(&name).unwrap_or_else(|| panic!("no {name} in\n{snapshot:#}"))
}

fn wait_beyond(tick: TickNumber) -> Snapshot {
    loop {
        let snapshot = heaptally::snapshot();
        if snapshot.tick() > tick {
            return snapshot;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[inline(never)]
fn often(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(bytes)))
}

/// As `often`, and again on a thread of its own.
#[inline(never)]
fn seldom(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(bytes)))
}

fn on_the_ways_of_a_stack_that_is_met_often(first: TickNumber) {
    const BLOCKS: usize = 300;
    let blocks: Vec<_> = (0..BLOCKS).map(|_| often(40)).collect();
    let snapshot = quiet_snapshot().unwrap();
    let born = row(&snapshot, "often").lifetimes();
    let blocks_count = BLOCKS as u64;
    let births = blocks_count * first.number()..=blocks_count * snapshot.tick().number();
    assert!(births.contains(&born.allocated_births), "{born:?}");
    drop(blocks);
    let freed = row(&quiet_snapshot().unwrap(), "often").lifetimes();
    assert_eq!(freed.freed_births, born.allocated_births);
    // In one tick, or else once more.
    loop {
        let before = quiet_snapshot().unwrap();
        (0..BLOCKS).for_each(|_| drop(often(40)));
        let after = quiet_snapshot().unwrap();
        let change = row(&after, "often").lifetimes() - row(&before, "often").lifetimes();
        assert_eq!((change.temporaries, change.allocated_births), (blocks_count, change.freed_births));
        if before.tick() == after.tick() {
            assert_eq!(change.freed_by_age, [blocks_count, 0, 0, 0, 0, 0]);
            break;
        }
    }
}

/// Too few to get one.
fn a_thread_without_lines_of_its_own() {
    loop {
        let before = quiet_snapshot().unwrap();
        (0..4).for_each(|_| drop(seldom(40)));
        let after = quiet_snapshot().unwrap();
        let of = |snapshot: &Snapshot| snapshot.function("lifetimes::seldom").map(|row| row.lifetimes());
        let change = row(&after, "seldom").lifetimes() - of(&before).unwrap_or(Lifetimes::ZERO);
        assert_eq!((change.temporaries, change.allocated_births), (4, change.freed_births));
        if before.tick() == after.tick() {
            assert_eq!(change.freed_by_age, [4, 0, 0, 0, 0, 0]);
            break;
        }
    }
}

#[test]
fn births_ages_and_temporaries_are_exact() {
    let tally = heaptally::start(Config::new().modules(["lifetimes"])).unwrap();
    // Tick 0 is that of the start.
    let first = wait_beyond(TickNumber::new(1)).tick();
    // Small, large, and larger than a page; one of each size lives on.
    let before = old([100, 1000, 10_000]);
    let kept = old([100, 1000, 10_000]);
    let then = quiet_snapshot().unwrap();
    let born = row(&then, "old").lifetimes();
    assert!((6 * first.number()..=6 * then.tick().number()).contains(&born.allocated_births), "{born:?}");
    assert_eq!(Lifetimes { allocated_births: 0, ..born }, Lifetimes::ZERO);

    let later = wait_beyond(then.tick());
    drop(before);
    // In place or not, a block that is resized goes and another comes.
    let snapshot = quiet_snapshot().unwrap();
    let row_of_old = row(&snapshot, "old");
    let lifetimes = row_of_old.lifetimes();
    assert_eq!(lifetimes.allocated_births, born.allocated_births);
    assert!((3 * first.number()..=3 * then.tick().number()).contains(&lifetimes.freed_births), "{lifetimes:?}");
    // A tick old at least: none went at once. The machine may have been busy for seconds.
    let [at_once, older @ ..] = lifetimes.freed_by_age;
    assert_eq!((at_once, older.iter().sum::<u64>()), (0, 3));
    if snapshot.tick().since(first) < 8 * TickNumber::LENGTH {
        assert_eq!(older[0], 3);
    }
    let (youngest, oldest) = (later.tick().since(then.tick()), snapshot.tick().since(first));
    let mean = lifetimes.mean_age(row_of_old.counts(), snapshot.tick()).unwrap();
    assert!((youngest..=oldest).contains(&mean), "{mean:?} is not in {youngest:?}..={oldest:?}");

    for bytes in [10, 300, 5000] {
        drop(brief(bytes));
    }
    // Another one comes between.
    let (one, two) = (brief(20), brief(30));
    drop(one);
    // Its turn has passed, though it is the last but one.
    let three = brief(40);
    drop(two);
    drop(three);
    let lifetimes = row(&quiet_snapshot().unwrap(), "brief").lifetimes();
    // 10, 300, 5000 and `three`.
    assert_eq!((lifetimes.temporaries, lifetimes.freed_by_age.iter().sum::<u64>()), (4, 6));

    // The last block of this thread, freed by another one, which has allocated nothing; and its last one, freed by this.
    let (send, receive) = std::sync::mpsc::sync_channel::<Vec<u8>>(1);
    let (done, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let other = thread::spawn(move || {
        while let Ok(block) = receive.recv() {
            drop(block);
            done.send(()).unwrap();
        }
        crossed(6000)
    });
    for _ in 0..3 {
        send.send(crossed(50)).unwrap();
        wait.recv().unwrap();
    }
    drop(send);
    drop(other.join().unwrap());
    let lifetimes = row(&quiet_snapshot().unwrap(), "crossed").lifetimes();
    assert_eq!((lifetimes.temporaries, lifetimes.freed_by_age.iter().sum::<u64>()), (0, 4));

    // 4 numbers, then 8: the first block goes as the last allocation of its thread.
    let numbers = grown();
    let lifetimes = row(&quiet_snapshot().unwrap(), "grown").lifetimes();
    assert_eq!((lifetimes.temporaries, lifetimes.freed_by_age.iter().sum::<u64>()), (1, 1));
    drop(numbers);

    on_the_ways_of_a_stack_that_is_met_often(first);
    thread::spawn(a_thread_without_lines_of_its_own).join().unwrap();

    tally.pause();
    let paused = brief(70);
    tally.resume();
    drop(paused);
    assert_eq!(quiet_snapshot().unwrap().check(), Ok(()));
    drop(kept);
}
