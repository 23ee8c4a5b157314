//! The first snapshot of a program with debug information: its time, and the memory that reading the symbols takes.

use std::env;
use std::fs;
use std::time::Instant;

use regex::Regex;

use crate::{print, status};

const MIB: f64 = (1 << 20) as f64;

pub(crate) fn measure() -> Result<(), String> {
    crate::track()?;
    // Stacks through most of the program.
    workloads::lap("tokio");
    workloads::lap("sort");
    let before = status::memory_bytes("VmRSS")?;
    status::forget_peak()?;
    let begun = Instant::now();
    let snapshot = heaptally::snapshot();
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    let peak = status::memory_bytes("VmHWM")?;
    crate::check(&snapshot, 50)?;
    let of_workloads = Regex::new(r"\bworkloads\b").map_err(|error| error.to_string())?;
    if !snapshot.by_function().iter().any(|row| of_workloads.is_match(row.function())) {
        return Err(format!("no function of the workloads in\n{snapshot:#}"));
    }
    let program = env::current_exe().and_then(fs::metadata).map_err(|error| format!("this program: {error}"))?;
    print::number("program", "MiB", program.len() as f64 / MIB);
    print::number("time", "ms", ms);
    print::number("peak", "MiB", peak.saturating_sub(before) as f64 / MIB);
    print::number("stacks", "stacks", snapshot.overhead().stacks as f64);
    Ok(())
}
