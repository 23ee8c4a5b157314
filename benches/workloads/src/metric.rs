//! One number that a workload yields, with what the reader needs to compare it.

use std::borrow::Cow;
use std::fmt;

pub(crate) struct Metric {
    /// Apart from the others of the workload; without blanks.
    pub(crate) name: Cow<'static, str>,
    /// Without blanks.
    pub(crate) unit: String,
    pub(crate) better: Better,
    pub(crate) value: f64,
}

#[derive(Clone, Copy)]
pub(crate) enum Better {
    Lower,
    Higher,
}

impl Metric {
    /// What an operation takes: the only metric of most workloads.
    pub(crate) fn time(operation: &str, ns: f64) -> Self {
        Self::lower("time", format!("ns/{operation}"), ns)
    }

    pub(crate) fn lower(name: impl Into<Cow<'static, str>>, unit: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), unit: unit.into(), better: Better::Lower, value }
    }

    pub(crate) fn higher(name: impl Into<Cow<'static, str>>, unit: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), unit: unit.into(), better: Better::Higher, value }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, better, value } = self;
        let better = match better {
            Better::Lower => "lower",
            Better::Higher => "higher",
        };
        write!(f, "metric={name} unit={unit} better={better} value={value:.4}")
    }
}
