//! What the history takes of a processor, alone and beside a subscriber at every second, and of memory: with so many
//! distinct stacks, all with a live block and a known name.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use crate::{print, stacks, status};

const AGGREGATOR: &str = "heaptally";
/// What the kernel keeps of the name.
const CALLBACKS: &str = "heaptally-callb";
const PERIOD: Duration = Duration::from_secs(1);
/// So many beats, from the middle between two on.
const WINDOW: Duration = Duration::from_secs(5);
const KIB: f64 = 1024.0;

pub(crate) fn measure(count: usize) -> Result<(), String> {
    crate::track()?;
    let tally = heaptally::tally().ok_or("tracking was not started")?;
    let blocks = stacks::blocks(count);
    crate::check(&tally.snapshot(), count)?;
    let alone = share(&[AGGREGATOR])?;
    let every = tally.every(PERIOD, |tick| drop(black_box(tick.since_last.summary())));
    thread::sleep(PERIOD / 2);
    let beside = share(&[AGGREGATOR, CALLBACKS])?;
    drop(every);

    let snapshot = tally.snapshot();
    crate::check(&snapshot, count)?;
    drop(blocks);
    print::number("alone", "%", alone);
    print::number("beside", "%", beside);
    print::number("memory", "KiB", snapshot.overhead().history_bytes as f64 / KIB);
    print::number("limit", "KiB", snapshot.overhead().history_limit_bytes as f64 / KIB);
    Ok(())
}

/// What these threads use of one processor in a window, in percent. The window before it is for what is new, the stacks
/// of this function among it: their names are looked up, and what is read for that is given back.
fn share(threads: &[&str]) -> Result<f64, String> {
    let mut readings = [(Instant::now(), 0); 3];
    for (reading, rest) in readings.iter_mut().zip([WINDOW, WINDOW, Duration::ZERO]) {
        let used_ns = threads.iter().try_fold(0, |sum, name| status::thread_ns(name).map(|ns| sum + ns))?;
        *reading = (Instant::now(), used_ns);
        thread::sleep(rest);
    }
    let [_, (begun, before_ns), (ended, after_ns)] = readings;
    Ok((after_ns - before_ns) as f64 / (ended - begun).as_nanos() as f64 * 100.0)
}
