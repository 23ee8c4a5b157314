//! The time of `start`, of which there is one in a process.

use std::time::Instant;

use crate::print;

pub(crate) fn measure() -> Result<(), String> {
    let begun = Instant::now();
    crate::track()?;
    print::number("start", "ms", begun.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
