//! Snapshots at a period, delivered to the program's own code.
//!
//! Each subscription has a thread `heaptally-callbacks` of its own: a subscriber that blocks holds up nobody else,
//! and no lock or guard of ours is held while it runs. What it allocates is attributed like the rest of the program.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::{Diff, Snapshot, engine};

/// What a subscriber is shown.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Tick<'a> {
    /// The heap now.
    pub snapshot: &'a Snapshot,
    /// What changed since the last beat that was delivered, or since the subscription.
    pub since_last: &'a Diff,
    /// Beats that passed while the subscriber was busy with the last one.
    pub skipped: u32,
}

/// A subscription. Dropping it ends it; a beat in progress is finished.
#[must_use = "dropping it ends the subscription; keep it, or call detach()"]
#[derive(Debug)]
pub struct Every {
    stopped: Arc<AtomicBool>,
    thread: io::Result<Thread>,
}

impl Every {
    /// Keeps the subscription for the rest of the process's life.
    pub fn detach(self) {
        std::mem::forget(self);
    }

    /// Why there will be no beats: the system refused the thread. `None` as a rule.
    pub fn failure(&self) -> Option<&io::Error> {
        self.thread.as_ref().err()
    }
}

impl Drop for Every {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Ok(thread) = &self.thread {
            thread.unpark();
        }
    }
}

pub(crate) fn subscribe(period: Duration, subscriber: impl FnMut(&Tick<'_>) + Send + 'static) -> Every {
    // Here and not on the new thread: what the caller does next belongs to the first beat.
    let base = engine::snapshot();
    let stopped = Arc::new(AtomicBool::new(false));
    let for_thread = Arc::clone(&stopped);
    let builder = thread::Builder::new().name("heaptally-callbacks".into());
    let spawned = builder.spawn(move || run(&for_thread, period, base, subscriber));
    Every { stopped, thread: spawned.map(|handle| handle.thread().clone()) }
}

fn run(stopped: &AtomicBool, period: Duration, mut last: Snapshot, mut subscriber: impl FnMut(&Tick<'_>)) {
    // A period of zero would never sleep, and one of centuries would overflow the clock.
    let period = period.clamp(Duration::from_millis(1), Duration::from_secs(86_400 * 365));
    let mut due = Instant::now() + period;
    let mut skipped = 0;
    while wait_until(stopped, due) {
        let snapshot = engine::snapshot();
        let since_last = engine::internal(|| snapshot.since(&last));
        let tick = Tick { snapshot: &snapshot, since_last: &since_last, skipped };
        // The panic hook has reported it; a subscriber that panics for ever prints for ever.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| subscriber(&tick))) {
            // Dropping it is the program's code once more, and may panic in turn.
            std::mem::forget(payload);
        }
        last = snapshot;
        // Beats keep to the grid of the first one: the time a subscriber takes does not add up to drift.
        let late = Instant::now().saturating_duration_since(due);
        skipped = u32::try_from(late.as_nanos() / period.as_nanos()).unwrap_or(u32::MAX);
        due += period.saturating_mul(skipped.saturating_add(1)).min(late + period);
    }
}

/// Sleeps until `due`; false when the subscription has ended.
fn wait_until(stopped: &AtomicBool, due: Instant) -> bool {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        let stopped = stopped.load(Ordering::Relaxed);
        if stopped || left.is_zero() {
            return !stopped;
        }
        thread::park_timeout(left);
    }
}
