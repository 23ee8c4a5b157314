//! What makes the allocator's time go on.
//!
//! Owned by the aggregator, whose thread advances the tick when it wakes, four times a second if for nothing else, and
//! between the steps of long work. In a forked child time stands still until that has an aggregator of its own, and goes
//! on from there: ages there are too low by as much.

use std::time::{Duration, Instant};

use heaptally_capture::{PROCESS, Tick};
use heaptally_profile::TickNumber;

const _: () = assert!(TickNumber::LENGTH.as_millis() as u64 == Tick::MILLISECONDS);
const _: () = assert!(TickNumber::LAST.number() == Tick::LAST.number());

/// See the module's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticker {
    began: Instant,
    first: Tick,
}

impl Ticker {
    /// Time goes on from now.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), first: PROCESS.tick.get() }
    }

    /// Advances the tick to where it should be. Says how long that is right.
    pub(crate) fn advance(&self) -> Duration {
        let elapsed_ms = self.began.elapsed().as_millis() as u64;
        PROCESS.tick.advance(Tick::new(self.first.number() + elapsed_ms / Tick::MILLISECONDS));
        Duration::from_millis(Tick::MILLISECONDS - elapsed_ms % Tick::MILLISECONDS)
    }
}
