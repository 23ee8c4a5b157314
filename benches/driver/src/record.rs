//! What a comparison by time has found: all that is printed, drawn or compared is made from it. Also the file of `--json`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cell::Summary;
use crate::machine::Conditions;
use crate::metric::Metric;

/// Rises when a field changes its meaning or goes. Readers leave out fields that they do not know.
const FORMAT: u32 = 1;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Record {
    pub(crate) format: u32,
    pub(crate) conditions: Conditions,
    pub(crate) method: Method,
    /// By workload, metric and subject, in the order of the report.
    pub(crate) rows: Vec<Row>,
    /// What a reader should know of the inputs, a line each.
    pub(crate) notes: Vec<String>,
    pub(crate) subjects: Vec<Kept>,
}

/// How it was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Method {
    pub(crate) quick: bool,
    /// Processes for each cell, unless their time was over before.
    pub(crate) rounds: usize,
    /// After which a process starts no further lap.
    pub(crate) budget_ms: u64,
    /// After which a cell gets no more processes.
    pub(crate) cell_budget_ms: u64,
}

/// A metric of a subject on a workload, or why the subject has none.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) subject: String,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    Measured(Measured),
    /// In one row for all metrics. `failed`: it should have numbers; else it was known that it may have none.
    Missing {
        reason: String,
        failed: bool,
    },
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) metric: Metric,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) runs: usize,
    /// How many times worse the median is than System's, whatever the direction; `null` if there is none.
    pub(crate) ratio_to_system: Option<f64>,
    /// A value of each process, in the order of the rounds.
    pub(crate) samples: Vec<f64>,
}

/// What a subject keeps.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Kept {
    pub(crate) subject: String,
    pub(crate) version: String,
    pub(crate) keeps: String,
    pub(crate) role: Role,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Heaptally itself, and over another allocator, and switched off.
    Heaptally,
    /// Keeps something of a program's blocks.
    Tracker,
    /// Keeps nothing.
    Allocator,
}

impl Record {
    pub(crate) fn new(
        conditions: Conditions,
        method: Method,
        rows: Vec<Row>,
        notes: Vec<String>,
        subjects: Vec<Kept>,
    ) -> Self {
        Self { format: FORMAT, conditions, method, rows, notes, subjects }
    }

    /// # Errors
    ///
    /// One line, if the file cannot be read or is no record that this driver understands.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| told(&error))?;
        Self::parse(&text).map_err(|error| told(&error))
    }

    fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let not = |error| format!("is not what --json writes: {error}");
        let Head { format } = serde_json::from_str(text).map_err(not)?;
        if format != FORMAT {
            return Err(format!("has format {format}, this driver reads {FORMAT}: measure that commit again"));
        }
        serde_json::from_str(text).map_err(not)
    }

    pub(crate) fn json(&self) -> String {
        // Strings, numbers and lists: nothing that could not be written.
        serde_json::to_string_pretty(self).expect("plain data") + "\n"
    }

    /// What `system` has where this row has its number.
    pub(crate) fn system_of(&self, row: &Row) -> Option<&Measured> {
        let metric = &row.measured()?.metric;
        let same = |other: &&Row| other.workload == row.workload && other.subject == "system";
        self.rows.iter().filter(same).filter_map(Row::measured).find(|measured| measured.metric == *metric)
    }

    /// The workloads, with their rows.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &[Row]> {
        self.rows.chunk_by(|a, b| a.workload == b.workload)
    }

    pub(crate) fn role_of(&self, subject: &str) -> Option<Role> {
        self.subjects.iter().find(|kept| kept.subject == subject).map(|kept| kept.role)
    }
}

impl Row {
    pub(crate) fn measured(&self) -> Option<&Measured> {
        match &self.outcome {
            Outcome::Measured(measured) => Some(measured),
            Outcome::Missing { .. } => None,
        }
    }
}

impl Measured {
    pub(crate) fn new(metric: Metric, summary: Summary, ratio_to_system: Option<f64>, samples: Vec<f64>) -> Self {
        let Summary { median, min, max } = summary;
        Self { metric, median, min, max, runs: samples.len(), ratio_to_system, samples }
    }

    /// The ratios to System's median of the best and of the worst process.
    pub(crate) fn ratio_range(&self, system_median: f64) -> (f64, f64) {
        let (a, b) = (self.metric.ratio(self.min, system_median), self.metric.ratio(self.max, system_median));
        (a.min(b), a.max(b))
    }
}

/// The metrics of a workload's rows, each once, in their order.
pub(crate) fn metrics(rows: &[Row]) -> Vec<&Metric> {
    let mut metrics: Vec<&Metric> = Vec::new();
    for measured in rows.iter().filter_map(Row::measured) {
        if !metrics.contains(&&measured.metric) {
            metrics.push(&measured.metric);
        }
    }
    metrics
}

/// A workload's metric: the name of the workload alone, if it has no other.
pub(crate) fn label(workload: &str, metric: &Metric, of: usize) -> String {
    if of == 1 { workload.to_owned() } else { format!("{workload}.{}", metric.name) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::metric::Better;

    /// Of `pairs33`, with the samples of each subject.
    pub(crate) fn record(subjects: &[(&str, &[f64])]) -> Record {
        let metric = Metric { name: "time".to_owned(), unit: "ns/pair".to_owned(), better: Better::Lower };
        let system = subjects.iter().find(|subject| subject.0 == "system").and_then(|system| Summary::of(system.1));
        let row = |&(subject, samples): &(&str, &[f64])| {
            let summary = Summary::of(samples).unwrap();
            let ratio_to_system = system.map(|system| summary.median / system.median);
            let outcome = Outcome::Measured(Measured::new(metric.clone(), summary, ratio_to_system, samples.to_vec()));
            Row { workload: "pairs33".to_owned(), subject: subject.to_owned(), outcome }
        };
        let kept = |&(subject, _): &(&str, &[f64])| Kept {
            subject: subject.to_owned(),
            version: String::new(),
            keeps: String::new(),
            role: match subject {
                "system" | "mimalloc" => Role::Allocator,
                _ if subject.starts_with("heaptally") => Role::Heaptally,
                _ => Role::Tracker,
            },
        };
        let [cpu, kernel, libc, rustc] = ["Cpu 1", "Linux 1", "glibc 1", "rustc 1"].map(str::to_owned);
        let [commit, command, date] = ["abc", "run", "2026-01-02T03:04:05Z"].map(str::to_owned);
        let conditions = Conditions { cpu, cores: 2, kernel, libc, rustc, commit, command, date };
        let method = Method { quick: false, rounds: 3, budget_ms: 1000, cell_budget_ms: 30_000 };
        let (rows, kept) = (subjects.iter().map(row).collect(), subjects.iter().map(kept).collect());
        Record::new(conditions, method, rows, Vec::new(), kept)
    }

    /// Of a row that has a number.
    pub(crate) fn measured(row: &mut Row) -> &mut Measured {
        match &mut row.outcome {
            Outcome::Measured(measured) => measured,
            Outcome::Missing { reason, .. } => panic!("{reason}"),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut record = record(&[("system", &[10.0, 12.5]), ("dhat", &[70.0])]);
        record.rows[1].outcome = Outcome::Missing { reason: "signal: 6 (SIGABRT)".to_owned(), failed: true };
        let text = record.json();
        assert_eq!(Record::parse(&text), Ok(record));
        for field in [
            "\"metric\": \"time\"",
            "\"better\": \"lower\"",
            "\"median\": 11.25",
            "\"runs\": 2",
            "\"reason\": \"signal",
        ] {
            assert!(text.contains(field), "{field} is not in {text}");
        }
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        let error = |text: &str| Record::parse(text).unwrap_err();
        assert!(error("").starts_with("is not what --json writes: "), "{}", error(""));
        assert!(error("{\"format\": 1}").starts_with("is not what --json writes: missing field"));
        assert_eq!(error("{\"format\": 7}"), "has format 7, this driver reads 1: measure that commit again");
        let gone = Record::read(Path::new("/no/such.json")).unwrap_err();
        assert!(gone.starts_with("/no/such.json: No such file"), "{gone}");
    }

    #[test]
    fn the_range_of_ratios_is_in_order_for_either_direction() {
        let mut record = record(&[("system", &[10.0]), ("heaptally", &[20.0, 25.0, 40.0])]);
        let heaptally = measured(&mut record.rows[1]);
        assert_eq!(heaptally.ratio_range(10.0), (2.0, 4.0));
        heaptally.metric.better = Better::Higher;
        assert_eq!(heaptally.ratio_range(100.0), (2.5, 5.0));
    }
}
