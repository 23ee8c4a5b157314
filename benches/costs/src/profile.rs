//! The time and the memory of a profile of pprof, of a snapshot with so many distinct stacks.

use std::io;
use std::time::{Instant, SystemTime};

use heaptally::Rank;
use heaptally::export::pprof;

use crate::{print, stacks, status};

const MIB: f64 = (1 << 20) as f64;

pub(crate) fn measure(count: usize) -> Result<(), String> {
    crate::track()?;
    let blocks = stacks::blocks(count);
    let snapshot = heaptally::snapshot();
    crate::check(&snapshot, count)?;
    let before = status::memory_bytes("VmRSS")?;
    status::forget_peak()?;
    let begun = Instant::now();
    pprof::write(&snapshot, Rank::LiveBytes, SystemTime::now(), io::sink()).map_err(|error| error.to_string())?;
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    let peak = status::memory_bytes("VmHWM")?;
    drop(blocks);
    print::number("time", "ms", ms);
    print::number("peak", "MiB", peak.saturating_sub(before) as f64 / MIB);
    Ok(())
}
