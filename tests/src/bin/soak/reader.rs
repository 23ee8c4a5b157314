//! Who reads: snapshots, differences, the history, suspects, the peak, and every format, while the others allocate.
//!
//! On a thread of its own, which passes the gate like a worker.

use std::io;
use std::time::{Duration, SystemTime};

use heaptally::export::{csv, dhat, file, flamegraph, folded, json, pprof, prometheus};
use heaptally::{Every, Grouping, Rank, Snapshot, Tally};

use crate::gate;

/// Readings of one subscription, before it is dropped and another takes its place.
const SUBSCRIPTION_READINGS: u64 = 20;

pub(crate) struct Reader {
    tally: Tally,
    previous: Snapshot,
    subscription: Every,
    readings: u64,
}

impl Reader {
    pub(crate) fn new(tally: Tally) -> Self {
        Self { tally, previous: tally.snapshot(), subscription: subscribe(tally), readings: 0 }
    }

    /// Reads in one of the ways, each in its turn.
    ///
    /// # Errors
    ///
    /// What was read contradicts itself.
    pub(crate) fn read(&mut self) -> Result<(), String> {
        self.readings += 1;
        if self.readings.is_multiple_of(SUBSCRIPTION_READINGS) {
            self.subscription = subscribe(self.tally);
        }
        let snapshot = self.tally.snapshot();
        snapshot.check().map_err(|violation| format!("a snapshot under load: {violation}"))?;
        match self.readings % 6 {
            0 => same_change(&self.previous, &snapshot)?,
            1 => drop(self.tally.suspects().to_string()),
            2 => history_goes_on(self.tally)?,
            3 => drop(self.tally.peak().closeness()),
            4 => read_back(&snapshot)?,
            _ => drop(snapshot.to_string()),
        }
        export(self.readings, &snapshot).map_err(|error| format!("an export: {error}"))?;
        self.previous = snapshot;
        Ok(())
    }
}

fn subscribe(tally: Tally) -> Every {
    tally.every(Duration::from_secs(2), |tick| {
        if let Err(violation) = tick.snapshot.check() {
            gate::fail(format!("a snapshot of a subscription: {violation}"));
        }
    })
}

/// The rows of a difference add up to the same change, whatever they are grouped by.
fn same_change(earlier: &Snapshot, later: &Snapshot) -> Result<(), String> {
    let [function, stack] = [Grouping::Function, Grouping::Stack].map(|grouping| {
        let rows = later.since_by(earlier, grouping);
        rows.rows().iter().map(|row| row.live_bytes()).sum::<i64>()
    });
    if function != stack {
        return Err(format!("functions changed by {function} bytes, stacks by {stack}"));
    }
    Ok(())
}

fn history_goes_on(tally: Tally) -> Result<(), String> {
    let history = tally.history();
    let (used, limit) = (history.bytes(), history.limits().most_bytes());
    if used > limit {
        return Err(format!("a history of {used} bytes, which may have {limit}"));
    }
    let elapsed: Vec<_> = history.iter().map(|point| point.elapsed()).collect();
    if elapsed.is_sorted() { Ok(()) } else { Err(format!("a history that goes back: {elapsed:?}")) }
}

/// A file of a snapshot holds what the snapshot does.
fn read_back(snapshot: &Snapshot) -> Result<(), String> {
    let mut bytes = Vec::new();
    file::write(snapshot, &mut bytes).map_err(|error| error.to_string())?;
    let read = file::read(bytes.as_slice()).map_err(|error| error.to_string())?;
    if read.totals() != snapshot.totals() || read.sites().len() != snapshot.sites().len() {
        return Err("a file has other numbers than its snapshot".to_owned());
    }
    Ok(())
}

fn export(number: u64, snapshot: &Snapshot) -> io::Result<()> {
    let out = io::sink();
    match number % 7 {
        0 => csv::write(snapshot, Grouping::Function, out),
        1 => dhat::write(snapshot, dhat::Blocks::Live, out),
        2 => flamegraph::write(snapshot, Rank::LiveBytes, out),
        3 => folded::write(snapshot, Rank::AllocatedBytes, out),
        4 => json::write(snapshot, out),
        5 => pprof::write(snapshot, Rank::LiveBytes, SystemTime::UNIX_EPOCH, out),
        _ => prometheus::write(snapshot, 20, out),
    }
}
