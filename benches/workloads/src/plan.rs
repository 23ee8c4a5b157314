//! The workloads by name, and what is timed of each.

use std::path::Path;
use std::thread;

use crate::batches::Batches;
use crate::churn::Churn;
use crate::json::Json;
use crate::pairs::Pairs;
use crate::service::Service;
use crate::sort::Sort;
use crate::sources::Sources;
use crate::tree::Tree;
use crate::work::Work;

pub(crate) enum Plan {
    /// Nanoseconds an operation, on one thread.
    Cost(Box<dyn Work>),
    /// What an operation costs on each of two threads at once, in units of what it costs on one alone.
    Scaling([Box<dyn Work>; 2]),
    /// What an operation costs on each of so many threads at once: on one, two, four and so on, and on all.
    Curve(Vec<Box<dyn Work>>),
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
            "tokio" => Self::Cost(Box::new(Service::new())),
            "sort" => Self::Cost(Box::new(Sort::new())),
            "tree" => Self::Cost(Box::new(Tree::new())),
            "threads" => Self::Curve((0..threads()).map(|_| Box::new(Pairs::UNDER_33) as _).collect()),
            _ => return Err(format!("unknown workload {workload}")),
        })
    }
}

/// As many as there are cores, within reason.
fn threads() -> usize {
    thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 16))
}
