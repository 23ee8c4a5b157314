//! The line that a subject's process prints: `key=value` words, read by the driver.

use std::fmt;

pub(crate) struct Report {
    pub(crate) workload: String,
    /// Of the value: without blanks.
    pub(crate) unit: String,
    pub(crate) value: f64,
    pub(crate) operations: u64,
    /// Of a lap, so that subjects which did different numbers of laps agree.
    pub(crate) checksum: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, unit, value, operations, checksum } = self;
        write!(f, "workload={workload} unit={unit} value={value:.4} operations={operations} checksum={checksum:x}")
    }
}
