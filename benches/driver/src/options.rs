//! The command line. Pure: words in, a task or one line of complaint out.

use std::path::PathBuf;
use std::time::Duration;

use crate::outputs::Outputs;
use crate::subject::{self, Pair, Subject};
use crate::workload::{self, Workload};

pub(crate) const USAGE: &str = "\
usage: cargo run --release -p heaptally-bench -- [OPTIONS]
       cargo run --release -p heaptally-bench -- instructions [--only W[,W] | --update]
       cargo run --release -p heaptally-bench -- costs [--rounds N]
       cargo run --release -p heaptally-bench -- memory [--subjects S[,S]] [--rounds N] [--quick]

  --only W[,W]      these workloads: pairs33, pairs73, churn, json, syn, batches, pairs2, threads, tokio, sort,
                    tree
  --subjects S[,S]  these subjects instead of all
  --rounds N        so many processes for each cell: 7 by default, 5 of `costs`, 3 of `memory`
  --quick           less than two minutes after the build: 3 rounds of a fortieth of a second, one run of what takes
                    longer than half a second, none of what takes longer than 3 s; of `memory`, one round of a
                    sixteenth of the blocks
  --json FILE       writes all numbers with their samples, for scripts and for --baseline
  --svg DIR         writes a plot for each workload
  --baseline FILE   compares with what --json wrote earlier; an unreadable file ends with status 2
  --fail-above P    ends with status 1 if heaptally is worse than the baseline by more than P percent, and by more
                    than its runs differ
  instructions      instructions a pair, with valgrind; fails if a pair before `start` is above its limit, or if a
                    count differs from benches/instructions.json by more than 2 %; --update writes that file
  costs             start, snapshots, pauses, history, aggregator: what heaptally costs beside the time of allocations
  memory            resident bytes a block, of allocators alone and with heaptally over them";

#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    Compare(CompareOptions),
    Instructions(InstructionsOptions),
    Costs(CostsOptions),
    Memory(MemoryOptions),
    Help,
}

/// Of the comparison by time.
#[derive(Debug, PartialEq)]
pub(crate) struct CompareOptions {
    pub(crate) workloads: Vec<&'static Workload>,
    pub(crate) subjects: Vec<Subject>,
    /// Timed processes for each cell; at least one.
    pub(crate) rounds: usize,
    /// Each process starts no further lap after this.
    pub(crate) budget: Duration,
    /// A cell whose processes have taken this long gets no more of them.
    pub(crate) cell_budget: Duration,
    /// A process that takes longer is ended, and its cell has no number.
    pub(crate) process_limit: Duration,
    /// No process is begun when all have taken this long.
    pub(crate) whole_budget: Duration,
    pub(crate) extent: Extent,
    pub(crate) outputs: Outputs,
    /// What an earlier run wrote.
    pub(crate) baseline: Option<PathBuf>,
    /// In percent; only with a baseline.
    pub(crate) fail_above: Option<f64>,
}

/// What a comparison is good for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Extent {
    /// A result.
    Full,
    /// A look.
    Quick,
}

#[derive(Debug, PartialEq)]
pub(crate) struct InstructionsOptions {
    pub(crate) workloads: Vec<&'static Workload>,
    pub(crate) expected: ExpectedCounts,
}

/// What is done with the committed counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ExpectedCounts {
    Compare,
    Update,
}

#[derive(Debug, PartialEq)]
pub(crate) struct CostsOptions {
    /// Processes for each cost; at least one.
    pub(crate) rounds: usize,
}

#[derive(Debug, PartialEq)]
pub(crate) struct MemoryOptions {
    /// At least one.
    pub(crate) pairs: Vec<Pair>,
    /// Processes for each cell; at least one.
    pub(crate) rounds: usize,
    /// One block of so many.
    pub(crate) fewer: usize,
}

pub(crate) fn parse(words: &[String]) -> Result<Task, String> {
    let (mut only, mut subjects, mut rounds, mut quick, mut command) = (None, None, None, false, None);
    let (mut outputs, mut baseline, mut fail_above) = (Outputs::default(), None, None);
    let mut expected = ExpectedCounts::Compare;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(Task::Help),
            "costs" | "instructions" | "memory" => command = Some(word.as_str()),
            "--quick" => quick = true,
            "--update" => expected = ExpectedCounts::Update,
            "--only" => only = Some(list(value()?, workload::find)?),
            "--subjects" => subjects = Some(list(value()?, subject::find)?),
            "--rounds" => rounds = Some(count(value()?)?),
            "--json" => outputs.json = Some(PathBuf::from(value()?)),
            "--svg" => outputs.svg = Some(PathBuf::from(value()?)),
            "--baseline" => baseline = Some(PathBuf::from(value()?)),
            "--fail-above" => fail_above = Some(percent(value()?)?),
            _ => return Err(format!("unknown argument {word}; --help lists them")),
        }
    }
    if let Some(command) = command
        && (outputs != Outputs::default() || baseline.is_some() || fail_above.is_some())
    {
        return Err(format!("`{command}` takes no --json, --svg, --baseline or --fail-above"));
    }
    if fail_above.is_some() && baseline.is_none() {
        return Err("--fail-above needs a --baseline".to_owned());
    }
    if expected == ExpectedCounts::Update && command != Some("instructions") {
        return Err("--update is of `instructions`".to_owned());
    }
    match command {
        Some("costs") if only.is_some() || subjects.is_some() || quick => {
            Err("`costs` takes no option but --rounds".to_owned())
        }
        Some("costs") => Ok(Task::Costs(CostsOptions { rounds: rounds.unwrap_or(5) })),
        Some("memory") if only.is_some() => Err("`memory` takes no --only".to_owned()),
        Some("memory") => {
            let pairs = subject::pairs(&subjects.unwrap_or_else(subject::all));
            if pairs.is_empty() {
                return Err("`memory` compares pairs: --subjects system,heaptally".to_owned());
            }
            let (usual_rounds, fewer) = if quick { (1, 16) } else { (3, 1) };
            Ok(Task::Memory(MemoryOptions { pairs, rounds: rounds.unwrap_or(usual_rounds), fewer }))
        }
        Some(_) if subjects.is_some() || rounds.is_some() || quick => {
            Err("`instructions` takes no option but --only or --update".to_owned())
        }
        Some(_) if expected == ExpectedCounts::Update && only.is_some() => {
            Err("--update writes all counts: leave out --only".to_owned())
        }
        Some(_) => instructions(only, expected),
        None => Ok(Task::Compare(CompareOptions {
            workloads: only.unwrap_or_else(|| workload::WORKLOADS.iter().collect()),
            subjects: subjects.unwrap_or_else(subject::all),
            rounds: rounds.unwrap_or(if quick { 3 } else { 7 }),
            budget: Duration::from_millis(if quick { 25 } else { 1000 }),
            cell_budget: Duration::from_millis(if quick { 500 } else { 30_000 }),
            process_limit: Duration::from_secs(if quick { 3 } else { 120 }),
            whole_budget: Duration::from_secs(if quick { 105 } else { 24 * 3600 }),
            extent: if quick { Extent::Quick } else { Extent::Full },
            outputs,
            baseline,
            fail_above,
        })),
    }
}

fn instructions(only: Option<Vec<&'static Workload>>, expected: ExpectedCounts) -> Result<Task, String> {
    let workloads = only.unwrap_or_else(|| workload::WORKLOADS.iter().filter(|workload| workload.counted).collect());
    match workloads.iter().find(|workload| !workload.counted) {
        Some(workload) => Err(format!("`instructions` counts pairs33 and pairs73, not {}", workload.name)),
        None => Ok(Task::Instructions(InstructionsOptions { workloads, expected })),
    }
}

/// The things named, each once, in the order named.
fn list<T: PartialEq>(names: &str, find: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let mut found = Vec::new();
    for name in names.split(',') {
        let thing = find(name)?;
        if !found.contains(&thing) {
            found.push(thing);
        }
    }
    Ok(found)
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("--rounds {text}: a whole number above zero is needed")),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=1000.0).contains(&percent) => Ok(percent),
        _ => Err(format!("--fail-above {text}: a number of percent from 0 to 1000 is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn compared(line: &str) -> CompareOptions {
        match parsed(line) {
            Ok(Task::Compare(options)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn names(workloads: &[&Workload]) -> Vec<&'static str> {
        workloads.iter().map(|workload| workload.name).collect()
    }

    #[test]
    fn nothing_given_is_everything() {
        let options = compared("");
        assert_eq!(
            names(&options.workloads),
            ["pairs33", "pairs73", "churn", "json", "syn", "batches", "pairs2", "threads", "tokio", "sort", "tree"]
        );
        assert_eq!(options.subjects, subject::all());
        assert_eq!(options.rounds, 7);
    }

    #[test]
    fn names_are_kept_once_and_in_order() {
        let options = compared("--only json,pairs33,json --subjects heaptally");
        assert_eq!(names(&options.workloads), ["json", "pairs33"]);
        assert_eq!(options.subjects[0].name, "heaptally");
    }

    #[test]
    fn rounds_given_outdo_those_of_quick() {
        assert_eq!(compared("--quick").rounds, 3);
        assert_eq!(compared("--rounds 5 --quick").rounds, 5);
    }

    #[test]
    fn files_are_named() {
        let options = compared("--json new.json --svg plots --baseline old.json --fail-above 7.5");
        let outputs = Outputs { json: Some("new.json".into()), svg: Some("plots".into()) };
        assert_eq!((options.outputs, options.baseline), (outputs, Some("old.json".into())));
        assert_eq!(options.fail_above, Some(7.5));
    }

    #[test]
    fn complaints_name_the_word() {
        let complaint = |line| parsed(line).expect_err(line);
        assert_eq!(
            complaint("--only pairs33,nosuch"),
            "unknown workload nosuch; there are pairs33, pairs73, churn, json, syn, batches, pairs2, threads, tokio, sort, tree"
        );
        assert!(
            complaint("--subjects nosuch").starts_with("unknown subject nosuch; there are system, heaptally-off, ")
        );
        assert_eq!(complaint("--only"), "--only needs a value");
        assert_eq!(complaint("--rounds 0"), "--rounds 0: a whole number above zero is needed");
        assert_eq!(
            complaint("--baseline a.json --fail-above much"),
            "--fail-above much: a number of percent from 0 to 1000 is needed"
        );
        assert_eq!(complaint("--fail-above 5"), "--fail-above needs a --baseline");
        assert_eq!(complaint("memory --json a.json"), "`memory` takes no --json, --svg, --baseline or --fail-above");
        assert_eq!(complaint("--fast"), "unknown argument --fast; --help lists them");
        assert_eq!(complaint("instructions --only json"), "`instructions` counts pairs33 and pairs73, not json");
        assert_eq!(complaint("instructions --quick"), "`instructions` takes no option but --only or --update");
        assert_eq!(complaint("instructions --update --only pairs33"), "--update writes all counts: leave out --only");
        assert_eq!(complaint("--update"), "--update is of `instructions`");
        assert_eq!(complaint("costs --quick"), "`costs` takes no option but --rounds");
        assert_eq!(complaint("memory --only json"), "`memory` takes no --only");
        assert_eq!(complaint("memory --subjects system,dhat"), "`memory` compares pairs: --subjects system,heaptally");
    }

    #[test]
    fn memory_is_that_of_pairs() {
        let pair = |name: &str| Pair {
            alone: subject::find(name.trim_start_matches("heaptally_")).unwrap(),
            tracked: subject::find(name).unwrap(),
        };
        let system = Pair { alone: Subject::system(), tracked: Subject::heaptally() };
        let all = vec![system, pair("heaptally_jemalloc"), pair("heaptally_mimalloc")];
        assert_eq!(parsed("memory"), Ok(Task::Memory(MemoryOptions { pairs: all, rounds: 3, fewer: 1 })));
        let one = vec![pair("heaptally_mimalloc")];
        let quick = Task::Memory(MemoryOptions { pairs: one, rounds: 1, fewer: 16 });
        assert_eq!(parsed("memory --quick --subjects mimalloc,heaptally_mimalloc"), Ok(quick));
    }

    #[test]
    fn instructions_are_counted_of_pairs() {
        match parsed("instructions") {
            Ok(Task::Instructions(options)) => assert_eq!(names(&options.workloads), ["pairs33", "pairs73"]),
            other => panic!("{other:?}"),
        }
    }
}
