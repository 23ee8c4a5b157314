//! A service that asks the environment whether and how to track. Prints what came of it, one fact a line.
//!
//! Run by `tests/environment.rs`. With an argument it does not ask, and starts as it is written here.

use std::hint::black_box;

use heaptally::{Config, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// The stack that a block below this many calls has is deeper than any limit that the test sets.
const CALLS: usize = 100;

#[inline(never)]
fn block_below(calls: usize) -> Vec<u8> {
    if calls == 0 { Vec::with_capacity(black_box(1000)) } else { black_box(block_below(calls - 1)) }
}

fn main() {
    let asked = if std::env::args().len() > 1 { Ok(Some(Config::new())) } else { Config::from_env() };
    match asked {
        Ok(Some(config)) => _ = heaptally::start(config.default_modules(["environment"])).expect("installed"),
        Ok(None) => println!("not started"),
        Err(error) => println!("{error}"),
    }
    let kept = block_below(CALLS);
    let snapshot = heaptally::snapshot();
    snapshot.check().expect("conserved");
    println!("running {}", heaptally::tally().is_some());
    println!("threads {}", std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count));
    let modules: Vec<&str> = snapshot.modules().iter().map(|module| &*module.name).collect();
    println!("modules {modules:?}");
    let site = snapshot.sites().iter().find(|site| site.function() == "environment::block_below");
    println!("frames {}", site.map_or(0, |site| site.frames().count()));
    println!("live {}", heaptally::totals().live_bytes() >= 1000);
    drop(kept);
}
