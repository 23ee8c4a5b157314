//! One line of the table: taken while the gate is shut, compared with what the service knows, and printed.
//!
//! On the main thread.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use heaptally::{Counts, Snapshot, Suspects, Tally};
use heaptally_tests::{Ledger, resident_bytes};

use crate::conserved::quiet_snapshot;
use crate::{budget, children, leaves};

const MIB: f64 = (1 << 20) as f64;
/// How long heaptally's own threads may take to fall quiet.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Line {
    elapsed: Duration,
    resident_bytes: u64,
    snapshot: Snapshot,
    suspects: Suspects,
    children: u64,
}

impl Line {
    /// The caller has shut the gate. `asked` is what everybody in the process has asked the allocator for.
    ///
    /// # Errors
    ///
    /// A number is not what it must be.
    pub(crate) fn take(tally: Tally, elapsed: Duration, asked: &Ledger) -> Result<Self, String> {
        let snapshot = quiet_snapshot()?;
        settle("totals", || (heaptally::totals().counts(), asked.counts()))?;
        for account in leaves::ACCOUNTS {
            let row = snapshot.function(account.function).map_or(Counts::ZERO, |row| row.counts());
            // A stack without room is in the row "(overflow)"; its blocks are in the totals, which are compared above.
            if row != account.counts() && snapshot.losses().overflow_stacks == 0 {
                return Err(format!(
                    "{}: {row:?} in its row, and it knows of {:?}",
                    account.function,
                    account.counts()
                ));
            }
        }
        budget::check(snapshot.overhead())?;
        budget::only_stacks_are_short(snapshot.losses())?;
        let captures = snapshot.captures();
        if captures.mismatched != 0 {
            return Err(format!("{} of {} stacks are not the platform's", captures.mismatched, captures.verified));
        }
        let suspects = tally.suspects();
        Ok(Self { elapsed, resident_bytes: resident_bytes(), snapshot, suspects, children: children::ended() })
    }

    /// Whether the function that leaks is among the suspects.
    pub(crate) fn names_the_leak(&self) -> bool {
        self.suspects.iter().any(|suspect| suspect.function() == "soak::leaves::leaked")
    }

    pub(crate) fn heading() -> &'static str {
        "    time  resident  program      own   tables     heap  page map   stacks    frames  rules  states  counters  rings  \
         history  short stacks  cut stacks  children  verified  conserved blocks  suspects"
    }
}

/// As wide as the heading. MiB, but for numbers of things.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / MIB;
        let (use_, losses) = (self.snapshot.overhead(), self.snapshot.losses());
        let seconds = self.elapsed.as_secs();
        let program = self.snapshot.totals().live_bytes() - use_.internal_live_bytes;
        write!(f, "{:>5}:{:02}", seconds / 60, seconds % 60)?;
        write!(f, "  {:>8.1}  {:>7.1}  {:>7.1}", mib(self.resident_bytes), mib(program), mib(use_.own_bytes()))?;
        write!(f, "  {:>7.1}  {:>7.1}", mib(use_.arena_bytes), mib(use_.internal_live_bytes))?;
        write!(f, "  {:>8.1}  {:>7}  {:>8}", mib(use_.page_map_bytes), use_.stacks, use_.stack_nodes)?;
        write!(f, "  {:>5}  {:>6}  {:>8.1}", use_.rules, use_.threads, mib(use_.counter_page_bytes))?;
        write!(f, "  {:>5.1}  {:>7.1}", mib(use_.ring_bytes), mib(use_.history_bytes))?;
        write!(f, "  {:>12}  {:>10}  {:>8}", losses.shortened_stacks, losses.truncated_stacks, self.children)?;
        let captures = self.snapshot.captures();
        write!(f, "  {:>8}  {:>16}  ", captures.verified, self.snapshot.totals().allocated_blocks)?;
        if self.suspects.rows().is_empty() {
            return f.write_str("none");
        }
        for (number, suspect) in self.suspects.iter().take(3).enumerate() {
            let name = suspect.function().trim_start_matches("soak::leaves::");
            write!(f, "{}{name}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Two numbers that become equal once heaptally's own threads rest.
fn settle<T: PartialEq + fmt::Debug>(what: &str, read: impl Fn() -> (T, T)) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let (left, right) = read();
        if left == right {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{what}: {left:?} is not {right:?}"));
        }
        thread::sleep(Duration::from_millis(1));
    }
}
