//! A child that libc does not tell of its fork, as of `_Fork`, gets an aggregator of its own all the same.
#![cfg(not(heaptally_portable))]

#[path = "common/child.rs"]
mod child;

use std::hint::black_box;
use std::thread;

use heaptally::{Config, Counts, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

unsafe extern "C" {
    /// glibc's since 2.34: `fork` without the handlers of `pthread_atfork`.
    fn _Fork() -> libc::pid_t;
}

#[inline(never)]
fn keep(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(bytes))
}

fn kept() -> Result<Counts, String> {
    let snapshot = heaptally::snapshot();
    snapshot.check().map_err(|violation| violation.to_string())?;
    let rows = snapshot.by_function();
    let row = rows.iter().find(|row| row.function() == "fork_without_handlers::keep");
    Ok(row.map_or(Counts::ZERO, |row| row.counts()))
}

fn child(body: impl FnOnce() -> Result<u8, String>) -> Result<u8, String> {
    // SAFETY: the parent's other threads wait; the child runs the code below and ends.
    match unsafe { _Fork() } {
        0 => child::exit(body),
        -1 => Err(std::io::Error::last_os_error().to_string()),
        child => child::wait(child),
    }
}

#[test]
fn a_child_without_handlers_counts_and_reports() {
    heaptally::start(Config::new().modules(["fork_without_handlers"])).unwrap();
    let first = keep(1000);
    let expected = Counts { allocated_blocks: 1, allocated_bytes: 1000, ..Counts::ZERO };
    assert_eq!(kept(), Ok(expected));
    let outcome = child(|| {
        let second = keep(20);
        // Two threads find out at once.
        let both = thread::scope(|scope| [(); 2].map(|()| scope.spawn(kept)).map(|asked| asked.join()));
        let expected = Counts { allocated_blocks: 2, allocated_bytes: 1020, ..Counts::ZERO };
        for counts in both {
            let counts = counts.map_err(|_| "panicked".to_owned())??;
            if counts != expected {
                return Err(format!("{counts:?}"));
            }
        }
        drop(second);
        // And so does its child.
        child(|| if kept()?.live_blocks() == 1 { Ok(7) } else { Err("a block more".to_owned()) })
    });
    assert_eq!(outcome, Ok(7));
    drop(first);
    assert_eq!(kept().map(|counts| counts.live_blocks()), Ok(0));
}
