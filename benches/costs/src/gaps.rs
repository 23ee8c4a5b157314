//! The pauses of a thread that allocates in a loop: while nothing else runs, while another thread spins, and while it
//! takes snapshots of so many stacks.
//!
//! A gap is the time between two readings of the clock with one block between them. Where a gap is long, the thread
//! asks whether it lost its processor in it; only those in which it kept it, or waited, can be heaptally's doing. What
//! remains in them are interrupts, and what the hypervisor took away.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::switches::Switches;
use crate::{print, stacks};

const WINDOW: Duration = Duration::from_secs(1);
/// Of each kind, in turn.
const WINDOWS: usize = 3;
/// From here on a gap is looked into: above what it takes to change threads.
const LONG_NS: u64 = 2_000;

#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    Spinning,
    Snapshots,
}

const KINDS: [(Beside, &str); 3] =
    [(Beside::Nothing, "alone"), (Beside::Spinning, "spinning"), (Beside::Snapshots, "snapshots")];

/// Gaps in nanoseconds.
#[derive(Default)]
struct Gaps {
    count: u64,
    /// All of `LONG_NS` and more.
    long: Vec<u64>,
    longest_kept: u64,
    longest_waited: u64,
    waits: u64,
}

pub(crate) fn measure(count: usize) -> Result<(), String> {
    crate::track()?;
    let blocks = stacks::blocks(count);
    crate::check(&heaptally::snapshot(), count)?;
    let mut gaps = [(); 3].map(|()| Gaps { long: Vec::with_capacity(1 << 20), ..Gaps::default() });
    let mut snapshots = 0;
    for _ in 0..WINDOWS {
        for ((beside, _), gaps) in KINDS.iter().zip(&mut gaps) {
            snapshots += window(*beside, gaps);
        }
    }
    crate::check(&heaptally::snapshot(), count)?;
    drop(blocks);
    for ((_, name), gaps) in KINDS.iter().zip(&mut gaps) {
        gaps.print(name);
    }
    print::number("snapshots", "snapshots", snapshots as f64);
    Ok(())
}

/// Adds the gaps of a window, and gives how many snapshots were taken meanwhile.
fn window(beside: Beside, gaps: &mut Gaps) -> u64 {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut snapshots = 0;
            // Relaxed: nothing else is read when it is over.
            while !over.load(Ordering::Relaxed) {
                match beside {
                    Beside::Nothing => thread::sleep(Duration::from_millis(20)),
                    Beside::Spinning => spin_loop(),
                    Beside::Snapshots => {
                        drop(heaptally::snapshot());
                        snapshots += 1;
                    }
                }
            }
            snapshots
        });
        // On a thread of its own, as all measured threads.
        scope.spawn(|| allocate(gaps)).join().expect("the allocating thread");
        over.store(true, Ordering::Relaxed);
        other.join().expect("the thread beside")
    })
}

#[inline(never)]
fn allocate(gaps: &mut Gaps) {
    // What a thread costs once is before the first gap.
    drop(black_box(Vec::<u8>::with_capacity(32)));
    let end = Instant::now() + WINDOW;
    let mut switches = Switches::here();
    let mut last = Instant::now();
    for bytes in (0..64).cycle() {
        drop(black_box(Vec::<u8>::with_capacity(black_box(32 + bytes))));
        let now = Instant::now();
        let ns = (now - last).as_nanos() as u64;
        gaps.count += 1;
        last = now;
        if ns >= LONG_NS {
            let switched = Switches::here();
            gaps.add_long(ns, switches, switched);
            switches = switched;
            if now >= end {
                return;
            }
            last = Instant::now();
        } else if now >= end {
            return;
        }
    }
}

impl Gaps {
    fn add_long(&mut self, ns: u64, before: Switches, after: Switches) {
        if self.long.len() < self.long.capacity() {
            self.long.push(ns);
        }
        if after.voluntary != before.voluntary {
            self.waits += 1;
            self.longest_waited = self.longest_waited.max(ns);
        } else if after.involuntary == before.involuntary {
            self.longest_kept = self.longest_kept.max(ns);
        }
    }

    fn print(&mut self, name: &str) {
        self.long.sort_unstable();
        // One in so many is longer than this; below what was looked into it is not known.
        let one_in = |parts: u64| {
            let longer = (self.count / parts) as usize;
            self.long.len().checked_sub(longer + 1).map_or(LONG_NS, |place| self.long[place])
        };
        let us = |ns: u64| ns as f64 / 1e3;
        let number = |what: &str, unit: &str, value: f64| print::number(&format!("{name}.{what}"), unit, value);
        number("p99.9", "us", us(one_in(1_000)));
        number("p99.9999", "us", us(one_in(1_000_000)));
        number("longest", "us", us(self.long.last().copied().unwrap_or(0)));
        number("longest_kept", "us", us(self.longest_kept));
        number("waits", "waits", self.waits as f64);
        number("longest_waited", "us", us(self.longest_waited));
    }
}
