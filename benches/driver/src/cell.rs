//! A subject on a workload: the values of its processes, or why there are none.

use crate::metric::Metric;
use crate::sample::Sample;

#[derive(Default)]
pub(crate) struct Cell {
    series: Vec<Series>,
    checksum: Option<String>,
    failure: Option<String>,
    left_out: Option<String>,
}

/// The values of one metric, one of each process.
pub(crate) struct Series {
    pub(crate) metric: Metric,
    pub(crate) values: Vec<f64>,
}

/// Of the values of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Cell {
    pub(crate) fn failed(why: String) -> Self {
        Self { failure: Some(why), ..Self::default() }
    }

    /// Takes the values of one more process. The first failure is the cell's: it has no numbers then.
    pub(crate) fn add(&mut self, sample: Result<Sample, String>) {
        match sample {
            Ok(sample) => {
                if *self.checksum.get_or_insert_with(|| sample.checksum.clone()) != sample.checksum {
                    self.fail("its processes did different work".to_owned());
                }
                if self.series.is_empty() {
                    let series = |metric| Series { metric, values: Vec::new() };
                    self.series = sample.readings.iter().map(|reading| series(reading.metric.clone())).collect();
                }
                let metrics = self.series.iter().map(|series| &series.metric);
                if !metrics.eq(sample.readings.iter().map(|reading| &reading.metric)) {
                    self.fail("its processes measured different metrics".to_owned());
                    return;
                }
                self.series.iter_mut().zip(sample.readings).for_each(|(series, new)| series.values.push(new.value));
            }
            Err(error) => self.fail(error),
        }
    }

    /// Fails the cell if it did other work than that of the reference.
    pub(crate) fn compare(&mut self, reference: &Self) {
        if let (Some(ours), Some(theirs)) = (&self.checksum, &reference.checksum)
            && ours != theirs
        {
            self.fail(format!("did other work: checksum {ours}, not {theirs}"));
        }
    }

    pub(crate) fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    /// Gives the cell no number, and is no failure: it was known that there may be none.
    pub(crate) fn leave_out(&mut self, why: String) {
        self.left_out.get_or_insert(why);
    }

    /// Why there is no number.
    pub(crate) fn gap(&self) -> Option<&str> {
        self.failure.as_deref().or(self.left_out.as_deref())
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Of each metric, in the order of the workload. Nothing if there are no numbers.
    pub(crate) fn series(&self) -> &[Series] {
        if self.gap().is_some() { &[] } else { &self.series }
    }

    /// Of the first metric, which is the only one of most workloads.
    pub(crate) fn summary(&self) -> Option<Summary> {
        self.series().first().and_then(Series::summary)
    }
}

impl Series {
    pub(crate) fn summary(&self) -> Option<Summary> {
        Summary::of(&self.values)
    }
}

impl Summary {
    /// `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Better;
    use crate::sample::Reading;

    fn sample(value: f64, checksum: &str) -> Result<Sample, String> {
        Ok(Sample::of("ns/pair", value, checksum))
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_middles() {
        assert_eq!(Summary::of(&[9.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 9.0 }));
        assert_eq!(Summary::of(&[4.0, 1.0, 9.0, 2.0]), Some(Summary { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(Summary::of(&[5.0]), Some(Summary { median: 5.0, min: 5.0, max: 5.0 }));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn the_first_failure_is_kept_and_hides_the_numbers() {
        let mut cell = Cell::default();
        cell.add(sample(1.0, "a"));
        cell.add(Err("signal: 11".to_owned()));
        cell.add(Err("another".to_owned()));
        assert_eq!((cell.failure(), cell.summary(), cell.series().len()), (Some("signal: 11"), None, 0));
    }

    #[test]
    fn what_is_left_out_has_no_number_and_is_no_failure() {
        let mut cell = Cell::default();
        cell.add(sample(1.0, "a"));
        cell.leave_out("not installed".to_owned());
        assert_eq!((cell.gap(), cell.failure(), cell.summary()), (Some("not installed"), None, None));
        cell.fail("signal: 11".to_owned());
        assert_eq!(cell.gap(), Some("signal: 11"));
    }

    #[test]
    fn metrics_have_their_own_values() {
        let reading = |name: &str, value| {
            let metric = Metric { name: name.to_owned(), unit: "us".to_owned(), better: Better::Lower };
            Reading { metric, value }
        };
        let two =
            |p50, p99| Sample { readings: vec![reading("p50", p50), reading("p99", p99)], checksum: "a".to_owned() };
        let mut cell = Cell::default();
        cell.add(Ok(two(1.0, 7.0)));
        cell.add(Ok(two(3.0, 9.0)));
        let medians: Vec<_> = cell.series().iter().map(|series| series.summary().unwrap().median).collect();
        assert_eq!(medians, [2.0, 8.0]);
        cell.add(sample(1.0, "a"));
        assert_eq!(cell.failure(), Some("its processes measured different metrics"));
    }

    #[test]
    fn other_work_fails_the_cell() {
        let (mut system, mut ours) = (Cell::default(), Cell::default());
        system.add(sample(1.0, "a"));
        ours.add(sample(1.0, "b"));
        ours.compare(&system);
        assert_eq!(ours.failure(), Some("did other work: checksum b, not a"));
        system.add(sample(1.0, "c"));
        assert_eq!(system.failure(), Some("its processes did different work"));
    }
}
