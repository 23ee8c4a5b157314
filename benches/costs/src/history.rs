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
/// The symbolizer's caches have been given back by then.
const SETTLING: Duration = Duration::from_secs(3);
const KIB: f64 = 1024.0;

pub(crate) fn measure(count: usize) -> Result<(), String> {
    crate::track()?;
    let tally = heaptally::tally().ok_or("tracking was not started")?;
    let blocks = stacks::blocks(count);
    crate::check(&tally.snapshot(), count)?;
    thread::sleep(SETTLING);
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

/// What these threads use of one processor in a window, in percent.
fn share(threads: &[&str]) -> Result<f64, String> {
    let used_ns = || threads.iter().try_fold(0, |sum, name| status::thread_ns(name).map(|ns| sum + ns));
    let (begun, before) = (Instant::now(), used_ns()?);
    thread::sleep(WINDOW);
    let used_ns = used_ns()? - before;
    Ok(used_ns as f64 / begun.elapsed().as_nanos() as f64 * 100.0)
}
