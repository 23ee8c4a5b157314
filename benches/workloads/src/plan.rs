//! The workloads by name, and what is timed of each.

use std::path::Path;

use crate::batches::Batches;
use crate::churn::Churn;
use crate::json::Json;
use crate::pairs::Pairs;
use crate::sources::Sources;
use crate::work::Work;

pub(crate) enum Plan {
    /// Nanoseconds an operation, on one thread.
    Cost(Box<dyn Work>),
    /// What an operation costs on each of two threads at once, in units of what it costs on one alone.
    Scaling([Box<dyn Work>; 2]),
}

impl Plan {
    pub(crate) fn prepare(workload: &str, input: Option<&Path>) -> Result<Self, String> {
        let input = || input.ok_or(format!("{workload} needs --input"));
        Ok(match workload {
            "pairs33" => Self::Cost(Box::new(Pairs::UNDER_33)),
            "pairs73" => Self::Cost(Box::new(Pairs::UNDER_73)),
            "pairs2" => Self::Scaling([Box::new(Pairs::UNDER_33), Box::new(Pairs::UNDER_33)]),
            "churn" => Self::Cost(Box::new(Churn::new())),
            "json" => Self::Cost(Box::new(Json::read(input()?)?)),
            "syn" => Self::Cost(Box::new(Sources::read(input()?)?)),
            "batches" => Self::Cost(Box::new(Batches::new())),
            _ => return Err(format!("unknown workload {workload}")),
        })
    }
}
