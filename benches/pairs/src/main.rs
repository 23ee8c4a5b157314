//! Allocate-free pairs of 40 bytes under a number of extra frames: `pairs off|on PAIRS FRAMES` prints nanoseconds per
//! pair.
//!
//! With `System` as allocator, `off` and `on` are the same program with a parked thread more or less.

#[cfg(feature = "tally")]
#[global_allocator]
static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
#[cfg(not(feature = "tally"))]
#[global_allocator]
static ALLOC: std::alloc::System = std::alloc::System;

use std::hint::black_box;
use std::time::Instant;

fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().expect("usage: pairs off|on PAIRS FRAMES");
    let (mode, pairs, frames) = (next(), number(&next()), number(&next()));
    if mode == "on" {
        #[cfg(feature = "tally")]
        heaptally::start(heaptally::config!()).expect("heaptally starts");
        #[cfg(not(feature = "tally"))]
        std::thread::spawn(std::thread::park);
    }
    // A spawned thread, so that glibc has left its single-threaded shortcuts in either mode that is timed.
    let ns = std::thread::spawn(move || under(frames, pairs)).join().expect("the measured thread");
    println!("{ns:.2}");
    #[cfg(feature = "tally")]
    heaptally::snapshot().check().expect("conserved");
}

fn number(text: &str) -> usize {
    text.parse().expect("a whole number")
}

/// Runs the pairs `frames` calls further down.
#[inline(never)]
fn under(frames: usize, pairs: usize) -> f64 {
    if frames == 0 {
        return run(pairs);
    }
    // Something after the call, so that the frame stays.
    black_box(under(black_box(frames - 1), pairs))
}

#[inline(never)]
fn run(pairs: usize) -> f64 {
    let begun = Instant::now();
    for _ in 0..pairs {
        drop(black_box(Vec::<u8>::with_capacity(black_box(40))));
    }
    begun.elapsed().as_nanos() as f64 / pairs.max(1) as f64
}
