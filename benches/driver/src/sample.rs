//! What one process of a subject measured: the lines it prints, read.

use std::path::Path;
use std::time::Duration;

use crate::launch::Launch;
use crate::metric::{Better, Metric};
use crate::subject::Subject;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// At least one.
    pub(crate) readings: Vec<Reading>,
    /// Of the work that every lap does.
    pub(crate) checksum: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) metric: Metric,
    pub(crate) value: f64,
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

    /// Reads lines of `key=value` words, one for each metric; further keys are allowed, and so are lines of the tool that
    /// the program runs under.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().filter(|line| word(line, "metric").is_ok()).collect();
        if lines.is_empty() {
            return Err(format!("printed no metric: {}", text.trim()));
        }
        let readings = lines.into_iter().map(Reading::parse).collect::<Result<_, _>>()?;
        // The same in every line.
        Ok(Self { readings, checksum: word(text, "checksum")?.to_owned() })
    }

    /// Of one metric.
    #[cfg(test)]
    pub(crate) fn of(unit: &str, value: f64, checksum: &str) -> Self {
        let metric = Metric { name: "time".to_owned(), unit: unit.to_owned(), better: Better::Lower };
        Self { readings: vec![Reading { metric, value }], checksum: checksum.to_owned() }
    }
}

impl Reading {
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let value = word(line, "value")?.parse().ok().filter(|value: &f64| value.is_finite());
        let value = value.ok_or(format!("printed no number: {}", line.trim()))?;
        let better = match word(line, "better")? {
            "lower" => Better::Lower,
            "higher" => Better::Higher,
            other => return Err(format!("printed better={other}, neither lower nor higher")),
        };
        let metric = Metric { name: word(line, "metric")?.to_owned(), unit: word(line, "unit")?.to_owned(), better };
        Ok(Self { metric, value })
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
        let line = "workload=pairs33 metric=time unit=ns/pair better=lower value=14.5 operations=4096 checksum=3f800\n";
        assert_eq!(Sample::parse(line), Ok(Sample::of("ns/pair", 14.5, "3f800")));
    }

    #[test]
    fn each_line_is_a_metric() {
        let text = "metric=throughput unit=requests/s better=higher value=9000.5 checksum=a\n\
                    metric=p99 unit=us better=lower value=120 checksum=a\n";
        let reading = |name: &str, unit: &str, better, value| {
            let metric = Metric { name: name.to_owned(), unit: unit.to_owned(), better };
            Reading { metric, value }
        };
        let readings = vec![
            reading("throughput", "requests/s", Better::Higher, 9000.5),
            reading("p99", "us", Better::Lower, 120.0),
        ];
        assert_eq!(Sample::parse(text), Ok(Sample { readings, checksum: "a".to_owned() }));
    }

    #[test]
    fn what_a_tool_prints_around_it_is_left_out() {
        let text = "output will be written to \"/tmp/a.raw\"\nmetric=time unit=ns/pair better=lower value=14.5 checksum=3f800\n\
                    finished: a=1\n";
        assert_eq!(Sample::parse(text), Ok(Sample::of("ns/pair", 14.5, "3f800")));
    }

    #[test]
    fn a_line_without_a_result_is_an_error() {
        let line = "metric=time value=1 unit=x better=lower";
        assert_eq!(Sample::parse(line), Err(format!("printed no checksum: {line}")));
        assert!(Sample::parse("metric=time better=lower value=fast unit=x checksum=0").is_err());
        assert!(Sample::parse("metric=time better=lower value=NaN unit=x checksum=0").is_err());
        assert!(Sample::parse("metric=time better=maybe value=1 unit=x checksum=0").is_err());
        assert!(Sample::parse("").is_err());
    }
}
