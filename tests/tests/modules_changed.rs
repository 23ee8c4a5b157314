//! Other modules charge the past anew, also stacks that were shortened; snapshots taken before stay as they were, and a
//! diff or a subscriber sees what has moved.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;

use std::hint::black_box;
use std::sync::mpsc::channel;
use std::time::Duration;

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, Diff, Snapshot, TallyAlloc};
use heaptally_tests::stacks;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// Whole stacks; some more than this file has before it fills them up.
const WHOLE_STACKS: u32 = 200;
/// Calls between the two modules that a short stack does not reach beyond.
const FURTHER: u32 = 30;

const TAKE: &str = "modules_changed::inner::take";
const ASK: &str = "modules_changed::outer::ask";
const OTHER: &str = "(other: modules_changed)";

mod inner {
    use std::hint::black_box;

    #[inline(never)]
    pub(crate) fn take(bytes: usize) -> Vec<u8> {
        black_box(Vec::with_capacity(black_box(bytes)))
    }
}

mod outer {
    use std::hint::black_box;

    /// A block of so many bytes, from so many calls further in.
    #[inline(never)]
    pub(crate) fn ask(bytes: usize, further: u32) -> Vec<u8> {
        black_box(super::between(bytes, further))
    }
}

#[inline(never)]
fn between(bytes: usize, further: u32) -> Vec<u8> {
    black_box(match further {
        0 => inner::take(bytes),
        _ => between(bytes, further - 1),
    })
}

const fn live(blocks: u64, bytes: u64) -> Counts {
    Counts { allocated_blocks: blocks, allocated_bytes: bytes, ..Counts::ZERO }
}

fn of(snapshot: &Snapshot) -> [Counts; 3] {
    let rows = snapshot.by_function();
    let counts = |function| rows.iter().find(|row| row.function() == function).map_or(Counts::ZERO, |row| row.counts());
    [TAKE, ASK, OTHER].map(counts)
}

fn changes(diff: &Diff) -> [Counts; 3] {
    let change =
        |function| diff.rows().iter().find(|row| row.function() == function).map_or(Counts::ZERO, |row| row.change());
    [TAKE, ASK, OTHER].map(change)
}

#[test]
fn other_modules_charge_the_past_anew() {
    let config = Config::new().modules(["modules_changed::inner"]).max_stacks(WHOLE_STACKS);
    let tally = heaptally::start(config).unwrap();
    let whole = [outer::ask(100, 0), outer::ask(200, FURTHER)];
    (0..1000).for_each(|number| stacks::at(number, 3, &mut || drop(black_box(Box::new(7)))));
    // One for each number of calls, and one end for all of them.
    let short: Vec<_> = (1..=5).map(|more| outer::ask(1000, FURTHER + more)).collect();
    let first = quiet_snapshot().unwrap();
    assert!(first.losses().shortened_stacks > 0, "{}", first.losses());
    let [take, ask, _] = of(&first);
    assert_eq!((take, ask), (live(2 + 5, 300 + 5000), Counts::ZERO));

    // What does not reach as far as the other module is charged to the crate.
    tally.set_modules(["modules_changed::outer"]).unwrap();
    let second = quiet_snapshot().unwrap();
    let [take, ask, other] = of(&second);
    assert_eq!((take, ask), (Counts::ZERO, live(2, 300)));
    assert!(other.live_bytes() >= 5000 && other.live_blocks() >= 5, "{other:?}");
    assert_eq!((tally.symbol_table().get(ASK), tally.symbol_table().get(TAKE)), (Some(live(2, 300)), None));
    // A snapshot holds its own.
    assert_eq!(of(&first)[0], live(7, 5300));
    assert_eq!(first.check(), Ok(()));
    let [take, ask, other] = changes(&second.since(&first));
    assert_eq!((take, ask), (Counts::ZERO - live(7, 5300), live(2, 300)));
    assert_eq!(other, of(&second)[2] - of(&first)[2]);

    // The other way, before the eyes of a subscriber.
    let (sender, beats) = channel();
    let every = tally.every(Duration::from_millis(5), move |tick| {
        _ = sender.send((changes(tick.since_last), of(tick.snapshot), tick.snapshot.check()));
    });
    let quiet = beats.recv().unwrap();
    assert_eq!((quiet.0[0], quiet.0[1], quiet.2), (Counts::ZERO, Counts::ZERO, Ok(())));
    tally.set_modules(["modules_changed::inner"]).unwrap();
    let moved = beats.iter().find(|(changes, ..)| changes[0] != Counts::ZERO).expect("beats go on");
    assert_eq!((moved.0[0], moved.0[1]), (live(7, 5300), Counts::ZERO - live(2, 300)));
    assert_eq!((moved.1[0], moved.1[1], moved.2), (live(7, 5300), Counts::ZERO, Ok(())));
    drop(every);

    // New blocks of the same stacks, and frees, are in the rows of before.
    drop((whole, short));
    drop(outer::ask(1000, FURTHER + 1));
    let last = quiet_snapshot().unwrap();
    assert_eq!(of(&last)[0], Counts { freed_blocks: 8, freed_bytes: 6300, ..live(8, 6300) });
}
