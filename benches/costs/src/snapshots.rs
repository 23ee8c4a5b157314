//! The time of a snapshot with so many distinct stacks, all with a live block: of the first, and of those after it, which
//! find every symbol known. Of these also the processor time of all threads, which other processes cannot add to.

use std::time::Instant;

use crate::cpu_clock::process_time;
use crate::{print, stacks};

const SNAPSHOTS: usize = 15;

/// Of one snapshot, in milliseconds.
struct Taken {
    elapsed: f64,
    processor: f64,
}

pub(crate) fn measure(count: usize) -> Result<(), String> {
    crate::track()?;
    let blocks = stacks::blocks(count);
    let first = take(count)?;
    let next = (0..SNAPSHOTS).map(|_| take(count)).collect::<Result<Vec<_>, _>>()?;
    drop(blocks);
    let median = |part: fn(&Taken) -> f64| print::median(&mut next.iter().map(part).collect::<Vec<_>>());
    print::number("first", "ms", first.elapsed);
    print::number("next", "ms", median(|taken| taken.elapsed));
    print::number("next_processor", "ms", median(|taken| taken.processor));
    Ok(())
}

/// The snapshot is freed and checked outside of the time.
fn take(stacks: usize) -> Result<Taken, String> {
    let (begun, used) = (Instant::now(), process_time());
    let snapshot = heaptally::snapshot();
    let [elapsed, processor] = [begun.elapsed(), process_time() - used].map(|time| time.as_secs_f64() * 1e3);
    crate::check(&snapshot, stacks)?;
    Ok(Taken { elapsed, processor })
}
