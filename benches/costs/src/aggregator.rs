//! The processor time of the aggregator's thread: while nothing allocates, while a thread allocates from known stacks,
//! and for each new stack.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use crate::{print, stacks, status};

const THREAD: &str = "heaptally";
const WINDOW: Duration = Duration::from_secs(2);
const STACKS: usize = 100_000;
/// It sleeps when its time has not changed for this long.
const QUIET: Duration = Duration::from_millis(200);

pub(crate) fn measure() -> Result<(), String> {
    crate::track()?;
    drop(heaptally::snapshot());
    settle()?;
    let idle = share(|| thread::sleep(WINDOW))?;
    let loaded = share(allocate_for_a_window)?;

    let before = settle()?;
    let blocks = stacks::blocks(STACKS);
    let stack_ns = (settle()? - before) as f64 / STACKS as f64;
    crate::check(&heaptally::snapshot(), STACKS)?;
    drop(blocks);
    print::number("idle", "%", idle);
    print::number("loaded", "%", loaded);
    print::number("stack", "ns/stack", stack_ns);
    Ok(())
}

/// Waits until it sleeps, and gives its time.
fn settle() -> Result<u64, String> {
    let mut last = status::thread_ns(THREAD)?;
    loop {
        thread::sleep(QUIET);
        let now = status::thread_ns(THREAD)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

/// Its part of one processor, in percent.
fn share(window: impl FnOnce()) -> Result<f64, String> {
    let before = status::thread_ns(THREAD)?;
    let begun = Instant::now();
    window();
    let ns = begun.elapsed().as_nanos() as f64;
    Ok((status::thread_ns(THREAD)? - before) as f64 / ns * 100.0)
}

fn allocate_for_a_window() {
    let begun = Instant::now();
    while begun.elapsed() < WINDOW {
        for bytes in 0..1000 {
            drop(black_box(Vec::<u8>::with_capacity(32 + bytes)));
        }
    }
}
