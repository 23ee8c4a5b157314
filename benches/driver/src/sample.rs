//! What one process of a subject measured: the line it prints, read.

use std::path::Path;
use std::time::Duration;

use crate::launch::Launch;
use crate::subject::Subject;

#[derive(Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) unit: String,
    pub(crate) value: f64,
    /// Of the work that every lap does.
    pub(crate) checksum: String,
}

/// Of the time of one process.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// It starts no further lap after this, but does one.
    pub(crate) budget: Duration,
    /// It is ended after this.
    pub(crate) process: Duration,
}

impl Sample {
    /// Runs a subject. Nothing if it had to be ended.
    pub(crate) fn take(
        subject: &Subject,
        program: &Path,
        workload: &str,
        input: Option<&Path>,
        limits: Limits,
    ) -> Result<Option<Self>, String> {
        let mut launch = Launch::of(subject, program)?;
        launch.command().arg(workload).arg("--budget-ms").arg(limits.budget.as_millis().to_string());
        if let Some(input) = input {
            launch.command().arg("--input").arg(input);
        }
        launch.command().args(subject.words);
        launch.output(limits.process)?.as_deref().map(Self::parse).transpose()
    }

    /// Reads `key=value` words; further keys are allowed.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let value = word(line, "value")?.parse().map_err(|_| format!("printed no number: {}", line.trim()))?;
        Ok(Self { unit: word(line, "unit")?.to_owned(), value, checksum: word(line, "checksum")?.to_owned() })
    }
}

/// The value of a key.
pub(crate) fn word<'a>(line: &'a str, key: &str) -> Result<&'a str, String> {
    let mut words = line.split_whitespace().filter_map(|word| word.split_once('='));
    words.find(|word| word.0 == key).map(|word| word.1).ok_or(format!("printed no {key}: {}", line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = "workload=pairs33 unit=ns/pair value=14.5 operations=4096 checksum=3f800\n";
        let sample = Sample { unit: "ns/pair".to_owned(), value: 14.5, checksum: "3f800".to_owned() };
        assert_eq!(Sample::parse(line), Ok(sample));
    }

    #[test]
    fn a_line_without_a_result_is_an_error() {
        assert_eq!(Sample::parse("value=1 unit=x\n"), Err("printed no checksum: value=1 unit=x".to_owned()));
        assert!(Sample::parse("value=fast unit=x checksum=0").is_err());
        assert!(Sample::parse("").is_err());
    }
}
