//! What the kernel says of this process and of one of its threads.

use std::fs;

/// A line of `/proc/self/status` in bytes: `VmRSS`, or `VmHWM`, the most it has been.
pub(crate) fn memory_bytes(key: &str) -> Result<u64, String> {
    let text = read("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or(format!("/proc/self/status has no {key}"))
}

/// Makes the most that there has been what there is now.
pub(crate) fn forget_peak() -> Result<(), String> {
    fs::write("/proc/self/clear_refs", "5").map_err(|error| format!("/proc/self/clear_refs: {error}"))
}

/// The processor time of the thread with this name, in nanoseconds. Exact while it sleeps.
pub(crate) fn thread_ns(name: &str) -> Result<u64, String> {
    let tasks = fs::read_dir("/proc/self/task").map_err(|error| format!("/proc/self/task: {error}"))?;
    for task in tasks.flatten() {
        let file = |file: &str| read(&task.path().join(file).to_string_lossy());
        if file("comm").is_ok_and(|comm| comm.trim_end() == name) {
            let text = file("schedstat")?;
            let ns = text.split_whitespace().next().and_then(|ns| ns.parse().ok());
            return ns.ok_or("a schedstat without a time".to_owned());
        }
    }
    Err(format!("no thread is named {name}"))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}
