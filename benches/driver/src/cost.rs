//! Which costs there are, in the order of the report: what measures each, and what it should be at most.

pub(crate) struct Process {
    /// For the program `costs`.
    pub(crate) words: &'static [&'static str],
    pub(crate) costs: &'static [Cost],
}

#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// In the program's output.
    pub(crate) metric: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: Option<f64>,
}

const fn cost(metric: &'static str, what: &'static str, unit: &'static str) -> Cost {
    Cost { metric, what, unit, goal: None }
}

const fn judged(metric: &'static str, what: &'static str, unit: &'static str, goal: f64) -> Cost {
    Cost { metric, what, unit, goal: Some(goal) }
}

pub(crate) const PROCESSES: [Process; 9] = [
    Process { words: &["start"], costs: &[cost("start", "start()", "ms")] },
    Process {
        words: &["snapshots", "1000"],
        costs: &[
            cost("next", "snapshot of 1,000 stacks", "ms"),
            cost("next_processor", "  its processor time", "ms"),
            cost("first", "  the first of the process", "ms"),
        ],
    },
    Process {
        words: &["snapshots", "10000"],
        costs: &[
            cost("next", "snapshot of 10,000 stacks", "ms"),
            cost("next_processor", "  its processor time", "ms"),
            cost("first", "  the first of the process", "ms"),
        ],
    },
    Process {
        words: &["snapshots", "100000"],
        costs: &[
            judged("next", "snapshot of 100,000 stacks", "ms", 50.0),
            cost("next_processor", "  its processor time", "ms"),
            cost("first", "  the first of the process", "ms"),
        ],
    },
    Process {
        words: &["gaps", "100000"],
        costs: &[
            cost("alone.p99.9", "pauses of an allocating thread, alone: 99.9 %", "us"),
            cost("alone.p99.9999", "  99.9999 %", "us"),
            cost("alone.longest", "  longest", "us"),
            cost("alone.longest_kept", "  longest with its processor kept", "us"),
            cost("alone.waits", "  times it waited for something", "times"),
            cost("spinning.p99.9", "beside a thread that spins: 99.9 %", "us"),
            cost("spinning.p99.9999", "  99.9999 %", "us"),
            cost("spinning.longest", "  longest", "us"),
            cost("spinning.longest_kept", "  longest with its processor kept", "us"),
            cost("spinning.waits", "  times it waited for something", "times"),
            cost("snapshots.p99.9", "beside snapshots of 100,000 stacks: 99.9 %", "us"),
            cost("snapshots.p99.9999", "  99.9999 %", "us"),
            cost("snapshots.longest", "  longest", "us"),
            judged("snapshots.longest_kept", "  longest with its processor kept", "us", 100.0),
            judged("snapshots.waits", "  times it waited for something", "times", 0.0),
            cost("snapshots", "  snapshots taken in 3 s", "snapshots"),
        ],
    },
    Process {
        words: &["first"],
        costs: &[
            cost("program", "program with debug = 1 (tokio, rayon): size", "MiB"),
            cost("stacks", "  its stacks", "stacks"),
            cost("time", "  its first snapshot", "ms"),
            cost("peak", "  memory above what was resident, at the most", "MiB"),
        ],
    },
    Process {
        words: &["history", "10000"],
        costs: &[
            cost("alone", "history of 10,000 stacks, of a processor", "%"),
            judged("beside", "  beside a subscriber at every second", "%", 1.0),
            cost("memory", "  its memory after 20 s", "KiB"),
            cost("limit", "  the most that may become", "KiB"),
        ],
    },
    Process {
        words: &["profile", "100000"],
        costs: &[
            judged("time", "pprof of 100,000 stacks", "ms", 1000.0),
            judged("peak", "  memory above what was resident, at the most", "MiB", 256.0),
        ],
    },
    Process {
        words: &["aggregator"],
        costs: &[
            cost("idle", "aggregator, of a processor: idle", "%"),
            cost("loaded", "  while a thread allocates from known stacks", "%"),
            cost("stack", "  its time for a new stack", "ns"),
        ],
    },
];
