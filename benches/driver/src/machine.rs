//! What a result depends on: the machine, the compiler, the commit and the command, a line each.

use std::fs;
use std::process::Command;
use std::thread;

use crate::layout::Layout;
use crate::process;

/// What cannot be found out is "unknown".
pub(crate) fn describe(layout: &Layout, words: &[String]) -> String {
    let cores = thread::available_parallelism().map_or("unknown".to_owned(), |cores| cores.to_string());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or("unknown".to_owned());
    let libc = first_line(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    let rustc = first_line(Command::new("rustc").arg("--version"));
    let command = ["cargo run --release -p heaptally-bench"].into_iter().map(str::to_owned);
    let arguments = (!words.is_empty()).then(|| format!("-- {}", words.join(" ")));
    let command = command.chain(arguments).collect::<Vec<_>>().join(" ");
    format!(
        "machine  {}, {cores} cores, Linux {}, {libc}\nrustc    {rustc}\ncommit   {}\ncommand  {command}",
        cpu(),
        kernel.trim(),
        commit(layout)
    )
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or("unknown cpu".to_owned(), |model| model.trim_start_matches(['\t', ' ', ':']).to_owned())
}

fn commit(layout: &Layout) -> String {
    let git = |arguments: &[&str]| process::output(Command::new("git").args(arguments).current_dir(&layout.root));
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let clean = git(&["status", "--porcelain"]).is_ok_and(|changes| changes.is_empty());
    format!("{}{}", commit.trim(), if clean { "" } else { ", with changes" })
}

fn first_line(command: &mut Command) -> String {
    let output = process::output(command).unwrap_or_default();
    output.lines().next().unwrap_or("unknown").to_owned()
}
