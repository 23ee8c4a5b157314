//! The lines that a subject's process prints, one for each metric: `key=value` words, read by the driver.

use std::fmt;

use crate::metric::Metric;

pub(crate) struct Report {
    pub(crate) workload: String,
    /// At least one.
    pub(crate) metrics: Vec<Metric>,
    pub(crate) operations: u64,
    /// Of a lap, so that subjects which did different numbers of laps agree.
    pub(crate) checksum: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, metrics, operations, checksum } = self;
        for (line, metric) in metrics.iter().enumerate() {
            let end = if line == 0 { "" } else { "\n" };
            write!(f, "{end}workload={workload} {metric} operations={operations} checksum={checksum:x}")?;
        }
        Ok(())
    }
}
