//! What the driver tells a subject: `WORKLOAD (--laps N | --budget-ms N) [--input FILE] [--before-start | --paused]`.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) struct Arguments {
    pub(crate) workload: String,
    pub(crate) amount: Amount,
    /// The document of `json`, or the list of source files of `syn`.
    pub(crate) input: Option<PathBuf>,
    pub(crate) tracking: Tracking,
}

/// How much to run.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// Exactly so many laps, at least one: for instruction counts.
    Laps(u64),
    /// Laps until so much time is over, at least one: bounded however slow the subject is.
    Budget(Duration),
}

impl Amount {
    /// For one of so many measurements.
    pub(crate) fn share(self, measurements: usize) -> Self {
        match self {
            Self::Laps(laps) => Self::Laps(laps.div_ceil(measurements as u64)),
            Self::Budget(budget) => Self::Budget(budget / measurements as u32),
        }
    }
}

/// Whether the subject's hooks are called.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Tracking {
    Started,
    /// As in a program that starts tracking and pauses it.
    Paused,
    /// As in a program that installs the allocator and does not start it.
    BeforeStart,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let workload = words.next().ok_or("no workload given")?;
        let (mut amount, mut input, mut tracking) = (None, None, Tracking::Started);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--laps" => amount = Some(Amount::Laps(number(&value()?)?.max(1))),
                "--budget-ms" => amount = Some(Amount::Budget(Duration::from_millis(number(&value()?)?))),
                "--input" => input = Some(PathBuf::from(value()?)),
                "--paused" => tracking = Tracking::Paused,
                "--before-start" => tracking = Tracking::BeforeStart,
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        Ok(Self { workload, amount: amount.ok_or("neither --laps nor --budget-ms given")?, input, tracking })
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is not a whole number"))
}
