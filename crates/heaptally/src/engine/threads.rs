//! The rows of threads: read among the other counters, named afterwards.
//!
//! Run by the aggregator. Reading allocates nothing, as all reading; naming allocates, and looks into files of the system.

use std::cmp::Reverse;
use std::sync::Arc;
use std::{fs, io, io::Read};

use ahash::HashMap;
use heaptally_capture::census::{self, ThreadCounts};
use heaptally_capture::{PROCESS, Term};
use heaptally_profile::{Counts, ThreadRow};

use super::counts::NoMemory;

/// States that may be made while the counters are read, before threads go into the row of the others.
const SLACK: usize = 256;
/// Threads whose names are looked up for the first time, for one snapshot.
const FIRST_LOOK_UPS: usize = 128;
/// Threads that are asked for their names again, those asked longest ago: a thread may change its name.
const FURTHER_LOOK_UPS: usize = 16;

/// See the module's head.
#[derive(Default)]
pub(crate) struct Threads {
    /// Of the last reading.
    read: Vec<ThreadCounts>,
    /// What none of those has counted.
    others: Counts,
    /// By state. One whose thread has ended stays until the state has another.
    names: HashMap<u32, Name>,
    /// Names ever looked up.
    looked_up: u64,
}

struct Name {
    of: Term,
    text: Arc<str>,
    /// The number of the look-up.
    at: u64,
}

impl Threads {
    /// Takes the memory that reading takes now.
    pub(crate) fn make_room(&mut self) -> Result<(), NoMemory> {
        self.read.clear();
        self.read.try_reserve(PROCESS.registry.states() + SLACK).map_err(|_| NoMemory)
    }

    /// Reads all threads anew.
    pub(crate) fn read(&mut self) {
        self.read.clear();
        let mut without_room = Counts::ZERO;
        let others = census::threads(|thread| {
            if self.read.len() < self.read.capacity() {
                self.read.push(thread);
            } else {
                without_room += counts(thread.words);
            }
        });
        self.others = counts(others) + without_room;
    }

    /// Follows a correction of the totals.
    pub(crate) fn correct(&mut self, by: Counts) {
        self.others += by;
    }

    /// One row for each thread that was read and lives, with its name as far as that is known, and one for the others.
    pub(crate) fn rows(&mut self) -> Vec<ThreadRow> {
        // The threads that are looked at first come by a name first.
        self.read.sort_unstable_by_key(|thread| (Reverse(counts(thread.words).allocated_bytes), thread.state));
        self.look_up_names();
        let unnamed = Arc::from("");
        let row = |thread: &ThreadCounts| {
            let name = self.name(thread).map_or(&unnamed, |name| &name.text);
            ThreadRow::of_thread(thread.term.thread_id(), Arc::clone(name), counts(thread.words))
        };
        let others = ThreadRow::of_others(self.others);
        self.read.iter().map(row).chain([others]).collect()
    }

    fn name(&self, thread: &ThreadCounts) -> Option<&Name> {
        self.names.get(&thread.state).filter(|name| name.of == thread.term)
    }

    fn look_up_names(&mut self) {
        let age = |(place, thread)| (self.name(thread).map_or(0, |name| name.at), place);
        let mut places: Vec<(u64, usize)> = self.read.iter().enumerate().map(age).collect();
        places.sort_unstable();
        let (unnamed, named) = places.split_at(places.partition_point(|&(at, _)| at == 0));
        let mut missing = Vec::new();
        // PERF: some 4 µs each.
        for &(_, place) in unnamed.iter().take(FIRST_LOOK_UPS).chain(named.iter().take(FURTHER_LOOK_UPS)) {
            let ThreadCounts { state, term, .. } = self.read[place];
            match look_up(term.thread_id()) {
                Ok(text) => {
                    self.looked_up += 1;
                    self.names.insert(state, Name { of: term, text, at: self.looked_up });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(place),
                Err(_) => {}
            }
        }
        // Ended since; or a thread of the process that this one was forked from, before anybody could be told of forks. But
        // a program may have left /proc behind: then the system does not know of this thread either.
        if !missing.is_empty() && fs::File::open("/proc/thread-self/comm").is_ok() {
            missing.sort_unstable();
            for place in missing.into_iter().rev() {
                self.others += counts(self.read.swap_remove(place).words);
            }
        }
    }
}

/// What the system calls a thread of this process.
fn look_up(id: u32) -> io::Result<Arc<str>> {
    // As long as a name may be, and its end of line.
    let mut text = [0; 16];
    let len = fs::File::open(format!("/proc/self/task/{id}/comm"))?.read(&mut text)?;
    let name = &text[..len];
    Ok(String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(name)).into())
}

fn counts([allocated_blocks, allocated_bytes, freed_blocks, freed_bytes]: [u64; 4]) -> Counts {
    Counts { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes }
}
