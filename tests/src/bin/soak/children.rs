//! Forked children: each counts what it allocates, starts a thread, takes a snapshot and ends.
//!
//! The thread of them has no blocks while it waits, so it does not pass the gate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use heaptally::Counts;

use crate::conserved::quiet_snapshot;
use crate::{child, gate, leaves};

/// Children that have ended well.
static ENDED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn ended() -> u64 {
    ENDED.load(Ordering::Relaxed)
}

/// Forks, and waits for the child's end.
pub(crate) fn fork_one() {
    match child::run(count_and_report) {
        Ok(_) => drop(ENDED.fetch_add(1, Ordering::Relaxed)),
        Err(error) => gate::fail(format!("a child: {error}")),
    }
}

fn count_and_report() -> Result<u8, String> {
    let (kept, counted) = heaptally::measure(|| [1000, 500].map(leaves::in_child));
    if counted != (Counts { allocated_blocks: 2, allocated_bytes: 1500, ..Counts::ZERO }) {
        return Err(format!("measured {counted:?}"));
    }
    // It takes over the state of a thread that is gone.
    let thread = thread::spawn(|| drop(leaves::in_child(100)));
    thread.join().map_err(|_| "a thread panicked".to_owned())?;
    let snapshot = quiet_snapshot()?;
    // One that was forked while names were looked up has none.
    if snapshot.notes().is_empty() {
        let account = leaves::in_child_account();
        let row = snapshot.function(account.function).map_or(Counts::ZERO, |row| row.counts());
        if row != account.counts() {
            return Err(format!("{row:?} in the row of {:?}", account.counts()));
        }
    }
    drop(kept);
    Ok(0)
}
