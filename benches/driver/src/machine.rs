//! What a result depends on: the machine, the compiler, the commit and the command.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::process;

/// What could not be found out is "unknown".
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Conditions {
    pub(crate) cpu: String,
    /// That the process may use.
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) libc: String,
    pub(crate) rustc: String,
    pub(crate) commit: String,
    pub(crate) command: String,
    /// In UTC, as in ISO 8601.
    pub(crate) date: String,
}

pub(crate) fn describe(layout: &Layout, words: &[String]) -> Conditions {
    let command = ["cargo run --release -p heaptally-bench"].into_iter().map(str::to_owned);
    let arguments = (!words.is_empty()).then(|| format!("-- {}", words.join(" ")));
    Conditions {
        cpu: cpu(),
        cores: thread::available_parallelism().map_or(0, usize::from),
        kernel: format!("Linux {}", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or(unknown()).trim()),
        libc: libc(),
        rustc: rustc(),
        commit: commit(layout),
        command: command.chain(arguments).collect::<Vec<_>>().join(" "),
        date: first_line(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])),
    }
}

/// `glibc 2.36`
pub(crate) fn libc() -> String {
    first_line(Command::new("getconf").arg("GNU_LIBC_VERSION"))
}

/// `rustc 1.95.0 (59807616e 2026-04-14)`
pub(crate) fn rustc() -> String {
    first_line(Command::new("rustc").arg("--version"))
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, kernel, libc, rustc, commit, command, date } = self;
        // A list, so that it is one in Markdown as well.
        writeln!(f, "- machine: {cpu}, {cores} cores, {kernel}, {libc}")?;
        writeln!(f, "- compiler: {rustc}")?;
        writeln!(f, "- commit: {commit}, on {date}")?;
        write!(f, "- command: `{command}`")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or(unknown(), |model| model.trim_start_matches(['\t', ' ', ':']).to_owned())
}

fn commit(layout: &Layout) -> String {
    let git = |arguments: &[&str]| process::output(Command::new("git").args(arguments).current_dir(&layout.root));
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return unknown() };
    let clean = git(&["status", "--porcelain"]).is_ok_and(|changes| changes.is_empty());
    format!("{}{}", commit.trim(), if clean { "" } else { " with changes" })
}

fn first_line(command: &mut Command) -> String {
    let output = process::output(command).unwrap_or_default();
    output.lines().next().map_or(unknown(), str::to_owned)
}
