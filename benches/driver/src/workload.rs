//! The workloads as the driver knows them: their names, and what they are given. The work is in benches/workloads.

#[derive(Debug, PartialEq)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) input: Input,
    /// Whether `instructions` counts it: each lap of it runs the same instructions.
    pub(crate) counted: bool,
}

/// The file that a workload reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Input {
    None,
    /// What `cargo metadata` says of this workspace.
    Metadata,
    /// The paths of the source files of the crates in this workspace's lock file, one a line.
    Sources,
}

/// In the order of the table.
pub(crate) const WORKLOADS: [Workload; 11] = [
    Workload { name: "pairs33", input: Input::None, counted: true },
    Workload { name: "pairs73", input: Input::None, counted: true },
    Workload { name: "churn", input: Input::None, counted: false },
    Workload { name: "json", input: Input::Metadata, counted: false },
    Workload { name: "syn", input: Input::Sources, counted: false },
    Workload { name: "batches", input: Input::None, counted: false },
    Workload { name: "pairs2", input: Input::None, counted: false },
    Workload { name: "threads", input: Input::None, counted: false },
    Workload { name: "tokio", input: Input::None, counted: false },
    Workload { name: "sort", input: Input::None, counted: false },
    Workload { name: "tree", input: Input::None, counted: false },
];

pub(crate) fn find(name: &str) -> Result<&'static Workload, String> {
    WORKLOADS.iter().find(|workload| workload.name == name).ok_or_else(|| {
        let names = WORKLOADS.map(|workload| workload.name).join(", ");
        format!("unknown workload {name}; there are {names}")
    })
}
