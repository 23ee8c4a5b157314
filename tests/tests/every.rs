//! Subscriptions: beats on a grid, skipped ones told, panics survived, ended when dropped.
#![cfg(not(heaptally_portable))]

#[path = "common/watchdog.rs"]
mod watchdog;

use std::hint::black_box;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use heaptally::{Config, Counts, Every, Tally, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One after the other: what they measure is time.
#[test]
fn subscriptions_keep_their_promises() {
    watchdog::abort_unless_done_in(ms(60_000), "every");
    let tally = heaptally::start(Config::new().modules(["every"])).unwrap();
    // What is symbolized the first time takes its time.
    tally.snapshot();
    beats_keep_to_the_grid_and_skipped_ones_are_told(tally);
    subscribers_of_several_periods_keep_each_to_its_own(tally);
    a_panic_does_not_end_the_beats(tally);
    beats_come_on_a_thread_of_their_own(tally);
    the_first_beat_shows_what_changed_since_the_subscription(tally);
    a_beat_shows_what_changed_since_the_last_one(tally);
    dropped_outside_it_ends(tally);
    dropped_inside_it_ends(tally);
    dropped_during_a_beat_it_does_not_wait(tally);
    detached_it_goes_on(tally);
    a_subscriber_may_use_all_of_heaptally(tally);
    a_period_of_zero_is_a_short_one_and_one_for_ever_does_not_overflow(tally);
    assert_eq!(tally.snapshot().check(), Ok(()));
}

fn beats_keep_to_the_grid_and_skipped_ones_are_told(tally: Tally) {
    const PERIOD: Duration = ms(50);
    let (sender, beats) = channel();
    let began = Instant::now();
    let mut number = 0;
    let every = tally.every(PERIOD, move |tick| {
        sender.send((began.elapsed(), tick.skipped)).unwrap();
        number += 1;
        // Every beat takes its time; the third one lasts beyond two more.
        thread::sleep(if number == 3 { PERIOD * 5 / 2 } else { PERIOD / 5 });
    });
    let seen: Vec<(Duration, u32)> = (0..12).map(|_| beats.recv().unwrap()).collect();
    drop(every);

    assert_eq!(seen[0].1, 0);
    assert!(seen[3].1 >= 2, "{seen:?}");
    // Beats delivered and beats skipped are all the beats there were: none is forgotten, none is early. A machine
    // under load may make any of them late, and then the later ones tell of it; drift would show as a beat that is
    // late for ever.
    let mut due = Duration::ZERO;
    for (at, skipped) in seen {
        due += PERIOD * (skipped + 1);
        assert!(at >= due, "a beat at {at:?} was due at {due:?}");
        assert!(at < due + ms(5_000), "a beat at {at:?} was due at {due:?}");
    }
}

/// A beat as its subscriber sees it, in time since before it subscribed.
struct Beat {
    begun: Duration,
    ended: Duration,
    skipped: u32,
}

fn subscribers_of_several_periods_keep_each_to_its_own(tally: Tally) {
    const LONG: Duration = ms(2_000);
    let subscribers = [30, 70, 110].map(ms).map(|period| {
        let (sender, beats) = channel();
        let called = Instant::now();
        let every = tally.every(period, move |tick| {
            let begun = called.elapsed();
            // What each beat takes would add up to drift.
            thread::sleep(period / 5);
            _ = sender.send(Beat { begun, ended: called.elapsed(), skipped: tick.skipped });
        });
        (period, beats, every)
    });
    thread::sleep(LONG);
    for (period, beats, every) in subscribers {
        let mut seen = vec![beats.recv().unwrap()];
        drop(every);
        seen.extend(beats);
        let whole = |time: Duration| (time.as_nanos() / period.as_nanos()) as u32;
        // The grid begins in between: when `every` was called at the earliest, a period before the first beat at the latest.
        let latest = seen[0].begun - period;
        let mut told = 0;
        for (index, beat) in seen.iter().enumerate() {
            told += 1 + beat.skipped;
            // All periods that were over at the end of the beat before, and one more; so the elapsed time within one,
            // but for what the machine held up this beat, which the next one tells.
            let least = seen[..index].last().map_or(1, |before| whole(before.ended - latest) + 1);
            let most = whole(beat.begun);
            assert!((least..=most).contains(&told), "{period:?}, beat {index}: {told} are not {least} to {most}");
        }
        println!("{period:?}: {} beats, {told} periods until {:?}", seen.len(), seen[seen.len() - 1].begun);
    }
}

fn a_panic_does_not_end_the_beats(tally: Tally) {
    let (sender, beats) = channel();
    let mut number = 0;
    let every = tally.every(ms(5), move |_| {
        number += 1;
        sender.send(number).unwrap();
        if number == 2 {
            // As `panic!`, without the message of the panic hook among the test's output.
            std::panic::resume_unwind(Box::new("the subscriber's own fault"));
        }
    });
    assert_eq!((0..4).map(|_| beats.recv().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    drop(every);
}

fn beats_come_on_a_thread_of_their_own(tally: Tally) {
    let subscribe = || {
        let (sender, beats) = channel();
        let beat = move |_: &heaptally::Tick<'_>| {
            // Asked for from here, a snapshot is made: no lock of heaptally's is held, nor is this the aggregator.
            let check = heaptally::snapshot().check();
            let thread = thread::current();
            _ = sender.send((thread.name().map(str::to_owned), thread.id(), check));
        };
        (tally.every(ms(5), beat), beats)
    };
    let ((one, beats), (other, other_beats)) = (subscribe(), subscribe());
    let (first, again, elsewhere) = (beats.recv().unwrap(), beats.recv().unwrap(), other_beats.recv().unwrap());
    for (name, _, check) in [&first, &again, &elsewhere] {
        assert_eq!((name.as_deref(), check), (Some("heaptally-callbacks"), &Ok(())));
    }
    assert!(first.1 == again.1 && first.1 != elsewhere.1 && first.1 != thread::current().id());
    drop((one, other));
}

#[inline(never)]
fn keep() -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(100)))
}

const ONE: Counts = Counts { allocated_blocks: 1, allocated_bytes: 100, ..Counts::ZERO };

fn change_of_keep(tick: &heaptally::Tick<'_>) -> Counts {
    let row = tick.since_last.rows().iter().find(|row| row.function() == "every::keep");
    row.map_or(Counts::ZERO, |row| row.change())
}

fn the_first_beat_shows_what_changed_since_the_subscription(tally: Tally) {
    let (sender, changes) = channel();
    let every = tally.every(ms(20), move |tick| _ = sender.send(change_of_keep(tick)));
    let kept = keep();
    assert_eq!([(); 2].map(|()| changes.recv().unwrap()), [ONE, Counts::ZERO]);
    drop(every);
    // The beats that may still come have the free.
    drop(kept);
}

fn a_subscriber_may_use_all_of_heaptally(tally: Tally) {
    /// Takes a snapshot where it is dropped: on the subscriber's thread, after its last beat.
    struct Reads(Sender<&'static str>);
    impl Drop for Reads {
        fn drop(&mut self) {
            assert_eq!(heaptally::snapshot().check(), Ok(()));
            self.0.send("dropped").unwrap();
        }
    }
    let (sender, events) = channel();
    let captured = Reads(sender);
    let every = tally.every(Duration::ZERO, move |tick| {
        assert_eq!(tick.snapshot.check(), Ok(()));
        tally.set_modules(["every", "std"]).unwrap();
        let (nested_sender, nested_beats) = channel();
        let nested = tally.every(ms(1), move |_| _ = nested_sender.send(()));
        nested_beats.recv().unwrap();
        drop(nested);
        captured.0.send("nested").unwrap();
        std::panic::resume_unwind(Box::new("the subscriber's own fault"));
    });
    assert_eq!([(); 2].map(|()| events.recv().unwrap()), ["nested"; 2]);
    drop(every);
    assert_eq!(events.iter().last(), Some("dropped"));
    tally.set_modules(["every"]).unwrap();
}

fn a_beat_shows_what_changed_since_the_last_one(tally: Tally) {
    let (sender, changes) = channel();
    let mut kept = Vec::with_capacity(8);
    let every = tally.every(ms(20), move |tick| {
        let now = tick.snapshot.function("every::keep").map_or(Counts::ZERO, |row| row.counts());
        sender.send((change_of_keep(tick), now, tick.snapshot.check())).unwrap();
        if kept.len() < 3 {
            // The subscriber's own allocations are the program's: the next beat shows them.
            kept.push(keep());
        }
    });
    let changed: Vec<_> = (0..5).map(|_| changes.recv().unwrap()).collect();
    assert_eq!(
        changed.iter().map(|(change, ..)| *change).collect::<Vec<_>>(),
        [Counts::ZERO, ONE, ONE, ONE, Counts::ZERO]
    );
    assert_eq!(changed.iter().map(|(_, now, _)| now.live_bytes()).collect::<Vec<_>>(), [0, 100, 200, 300, 300]);
    assert!(changed.iter().all(|(.., check)| *check == Ok(())));
    drop(every);
}

/// Fails unless the subscriber, which holds the sender, is dropped without another beat than one that was in
/// progress.
fn ends<T>(beats: &Receiver<T>) {
    let mut last = 0;
    loop {
        match beats.recv_timeout(ms(20_000)) {
            Ok(_) => last += 1,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("the subscriber is still there"),
        }
        assert!(last <= 100, "beats go on");
    }
}

fn dropped_outside_it_ends(tally: Tally) {
    let (sender, beats) = channel();
    let every = tally.every(ms(2), move |_| sender.send(()).unwrap());
    beats.recv().unwrap();
    drop(every);
    ends(&beats);
    // A period that is not over yet is not waited for.
    let (sender, beats) = channel::<()>();
    drop(tally.every(ms(3_600_000), move |_| sender.send(()).unwrap()));
    ends(&beats);
}

fn dropped_inside_it_ends(tally: Tally) {
    let own: Arc<Mutex<Option<Every>>> = Arc::default();
    let (sender, beats) = channel();
    let inside = Arc::clone(&own);
    let every = tally.every(ms(50), move |_| {
        drop(inside.lock().unwrap().take());
        sender.send(()).unwrap();
    });
    *own.lock().unwrap() = Some(every);
    beats.recv().unwrap();
    ends(&beats);
}

fn dropped_during_a_beat_it_does_not_wait(tally: Tally) {
    let (began, beat_began) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let every = tally.every(ms(1), move |_| {
        began.send(()).unwrap();
        may_go_on.recv().unwrap();
    });
    beat_began.recv().unwrap();
    // Would hang if it waited for the beat, which waits for what comes after.
    drop(every);
    go_on.send(()).unwrap();
    ends(&beat_began);
}

fn detached_it_goes_on(tally: Tally) {
    let (sender, beats) = channel();
    tally.every(ms(5), move |_| _ = sender.send(())).detach();
    for _ in 0..5 {
        beats.recv().unwrap();
    }
}

fn a_period_of_zero_is_a_short_one_and_one_for_ever_does_not_overflow(tally: Tally) {
    let (sender, beats) = channel();
    let every = tally.every(Duration::ZERO, move |_| sender.send(()).unwrap());
    for _ in 0..3 {
        beats.recv().unwrap();
    }
    drop(every);
    ends(&beats);
    let (sender, beats) = channel::<()>();
    let every = tally.every(Duration::MAX, move |_| sender.send(()).unwrap());
    assert_eq!(beats.recv_timeout(ms(50)), Err(RecvTimeoutError::Timeout));
    drop(every);
    ends(&beats);
}
