//! Suspects as text: the table a person reads, or why there is none.
//!
//! A pure function of the suspects: no terminal, no colours, no clock. For any thread; allocates.

use std::fmt;

use crate::file_names::FileNames;
use crate::suspect::Suspect;
use crate::suspects::Suspects;
use crate::table::{Table, function_cell, shown};
use crate::units::{Age, Bytes, Grouped, Percent, Plural, SignedBytes, SignedGrouped};
use crate::window::{LEAST_LENGTH, LEAST_POINTS};

impl fmt::Display for Suspects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let history = Age(self.history());
        if self.is_too_short() {
            return write!(
                f,
                "history of {history} is too short: suspects need {LEAST_POINTS} points over {}, one in each eighth of it, and \
                 there are {}",
                Age(LEAST_LENGTH),
                Grouped(self.points() as u64)
            );
        }
        if self.rows().is_empty() {
            return write!(f, "no suspects: no function has grown steadily in {history} of history");
        }
        let (first, hidden) = self.rows().split_at(shown(self.rows().len(), f));
        write!(f, "heaptally suspects, by {history} of history\n\n{}", table(first))?;
        if !hidden.is_empty() {
            writeln!(f, "… and {}", Plural(hidden.len() as u64, "slower suspect"))?;
        }
        f.write_str(
            "\nper hour: at least, in each eighth of the time it has been growing for; old blocks: so many at least are \
             older than that\na cache that is being filled looks like a leak",
        )
    }
}

fn table(suspects: &[Suspect]) -> Table<7> {
    let mut table = Table::new(
        ["per hour", "growing for", "live bytes", "live blocks", "survived", "mean age", "old blocks"],
        "function",
    );
    let names: FileNames<'_> =
        suspects.iter().filter_map(|suspect| suspect.row().location()).map(|place| &*place.file).collect();
    for suspect in suspects {
        let row = suspect.row();
        let function = function_cell(row.function(), row.location(), &names);
        let before = if suspect.may_regain() { ", perhaps held as much before" } else { "" };
        table.push(cells(suspect), format!("{function}{before}"));
    }
    table
}

/// Old is what is older than half the time that the function has been growing for.
fn cells(suspect: &Suspect) -> [String; 7] {
    let counts = suspect.row().counts();
    let survived = Percent { part: counts.live_blocks(), whole: counts.allocated_blocks.cast_signed() };
    let elders = suspect.surely_older_than(suspect.window() / 2);
    [
        format!("+{}", Bytes(suspect.bytes_per_hour())),
        Age(suspect.window()).to_string(),
        SignedBytes(counts.live_bytes()).to_string(),
        SignedGrouped(counts.live_blocks()).to_string(),
        survived.to_string(),
        suspect.mean_age().map_or_else(|| "-".to_owned(), |age| Age(age).to_string()),
        elders.map_or_else(|| "-".to_owned(), |elders| format!("{} > {}", Grouped(elders.blocks), Age(elders.age))),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::fixtures::{counts, site_at, snapshot_at};
    use crate::{History, HistoryLimits, Lifetimes, Point, Snapshot};

    use super::*;

    /// Each function keeps a block of some bytes each second, from the first on, `app::batch` for 20 s; `app::open`
    /// allocates and frees another one.
    fn at(second: u64) -> Snapshot {
        let batch = second / 20 * 20;
        // A second has four ticks.
        let births = |seconds: u64| 2 * seconds * (seconds + 1);
        let born = |allocated_births, freed_births| Lifetimes { allocated_births, freed_births, ..Lifetimes::ZERO };
        snapshot_at(
            Duration::from_secs(second),
            vec![
                site_at("app::open", 1, 26, counts(2 * second, 4096 * second, second, 2048 * second))
                    .with_lifetimes(born(2 * births(second), births(second))),
                site_at("app::log", 2, 40, counts(second, 64 * second, 0, 0)).with_lifetimes(born(births(second), 0)),
                site_at("app::batch", 3, 50, counts(second, 1_048_576 * second, batch, 1_048_576 * batch))
                    .with_lifetimes(born(births(second), births(batch))),
                site_at("app::still", 4, 60, counts(1, 500, 0, 0)),
            ],
        )
    }

    fn suspects_at(second: u64) -> Suspects {
        let mut history = History::new(HistoryLimits { points_per_level: 1000, sites: 8 });
        (0..=second).for_each(|second| history.push(&Point::of(&at(second), 8)));
        at(second).suspects(&history)
    }

    /// At 79 s the windows are 79 and 19.75 s long. In the first the eighths begin at multiples of 9.875 s, with the
    /// points of 0, 10, 20 and so on: 20 KiB more each, and 640 bytes. In the second they begin with those of 60, 62,
    /// 65, 67, 70, 72, 75 and 77 s: 2 MiB more at least. `app::batch` has 17 MiB in the last one, and had 19 at 59 s.
    ///
    /// Half of the first ago is 39.5 s, after the point of 39 s: then 78 blocks of `app::open` had been allocated, and
    /// 79 are freed; 39 of `app::log`. Half of the second ago is after that of 69 s: 69 of `app::batch`, and 60 are
    /// freed.
    ///
    /// Born were the blocks of 79 s in the ticks 4 to 316, 160 in the mean; those of `app::batch` in 244 to 316.
    #[test]
    fn suspects_are_a_table_with_their_evidence() {
        assert_eq!(
            suspects_at(79).to_string(),
            "\
heaptally suspects, by 79.0 s of history

  per hour  growing for  live bytes  live blocks  survived  mean age   old blocks  function
  +7.1 MiB       79.0 s   158.0 KiB           79     50.0%    39.0 s   0 > 40.0 s  app::open (main.rs:26)
+227.8 KiB       79.0 s     4.9 KiB           79    100.0%    39.0 s  39 > 40.0 s  app::log (main.rs:40)
  +2.8 GiB       19.7 s    19.0 MiB           19     24.1%     9.0 s   9 > 10.0 s  app::batch (main.rs:50), perhaps held \
             as much before

per hour: at least, in each eighth of the time it has been growing for; old blocks: so many at least are older than that
a cache that is being filled looks like a leak"
        );
    }

    #[test]
    fn a_history_that_is_too_short_says_what_is_missing() {
        assert_eq!(
            suspects_at(3).to_string(),
            "history of 3.0 s is too short: suspects need 8 points over 8.0 s, one in each eighth of it, and there are 4"
        );
        assert_eq!(
            at(3).suspects(&History::new(HistoryLimits::DEFAULT)).to_string(),
            "history of 0.0 s is too short: suspects need 8 points over 8.0 s, one in each eighth of it, and there are 0"
        );
    }

    #[test]
    fn no_suspects_are_a_line() {
        let still =
            |second| snapshot_at(Duration::from_secs(second), vec![site_at("app::still", 1, 1, counts(1, 8, 0, 0))]);
        let mut history = History::new(HistoryLimits::DEFAULT);
        (0..=600).for_each(|second| history.push(&Point::of(&still(second), 8)));
        let text = still(600).suspects(&history).to_string();
        assert_eq!(text, "no suspects: no function has grown steadily in 10.0 min of history");
    }

    #[test]
    fn suspects_beyond_the_twentieth_are_counted() {
        let leaks = |second| {
            let leak = |n: u32| site_at(&format!("app::f{n}"), n, 1, counts(second, u64::from(n) * second, 0, 0));
            snapshot_at(Duration::from_secs(second), (1..=23).map(leak).collect())
        };
        let mut history = History::new(HistoryLimits::DEFAULT);
        (0..=64).for_each(|second| history.push(&Point::of(&leaks(second), 64)));
        let suspects = leaks(64).suspects(&history);
        assert!(suspects.to_string().contains("app::f4 (main.rs:1)\n… and 3 slower suspects\n"), "{suspects}");
        let full = format!("{suspects:#}");
        assert!(full.contains("app::f1 (main.rs:1)\n") && !full.contains("slower suspect"), "{full}");
    }
}
