//! Threads that drive the hook of heaptally for ThreadSanitizer to watch: they come and go, take stacks, hand blocks to each
//! other, while another one drains their rings, reads all counters, starts tracking, pauses and resumes.
//!
//! Run by `tests/tsan.sh`. It is no allocator: std, which is not instrumented, would run through it. It calls the hook as
//! `crates/heaptally/src/engine/forward.rs` does, of blocks that it has from the system. Ends with status 1 when a number is
//! not what was counted by hand.
//!
//! `heaptally-tsan [ROUNDS] [FAULT]`: threads one after the other in each of four places, 40 by default; and what is done
//! wrong on purpose, see [`Fault`].

mod aggregator;
mod inner;
mod mailboxes;
mod member;
#[path = "../../src/random.rs"]
mod random;
mod stacks;
mod threads;

use std::sync::atomic::{AtomicU64, Ordering};

use aggregator::Aggregator;
use mailboxes::Mailboxes;
use member::{COUNTED, Member};
use random::Random;

/// Threads at once.
const PLACES: u64 = 4;
/// Operations of one thread.
const OPERATIONS: u64 = 400;

/// What the driver does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    #[default]
    Nothing,
    /// A block reaches another thread without synchronisation: its tag is read as it may not have been written.
    HandOver,
    /// Two threads count with one state.
    OneState,
}

fn fault(name: &str) -> Option<Fault> {
    match name {
        "hand-over" => Some(Fault::HandOver),
        "one-state" => Some(Fault::OneState),
        _ => None,
    }
}

static MAILBOXES: Mailboxes = Mailboxes::new();
/// The places whose threads have had a state, a bit each, by its number.
static HAD_BY: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().map_or(40, |rounds| rounds.parse().expect("a number of rounds"));
    let fault = arguments.next().map_or(Fault::Nothing, |name| fault(&name).expect("hand-over or one-state"));

    let aggregator = Aggregator::spawn(fault);
    let shared = (fault == Fault::OneState).then(Member::begin);
    let places: Vec<_> =
        (0..PLACES).map(|place| threads::spawn(move || place_of_threads(place, rounds, fault, shared))).collect();
    places.into_iter().for_each(threads::Running::join);
    let last = Member::begin();
    while let Some(held) = MAILBOXES.take_any(fault) {
        last.free(held);
    }
    last.end();
    let seen = aggregator.finish();

    let exchanged = HAD_BY.iter().filter(|places| places.load(Ordering::Relaxed).count_ones() > 1).count();
    println!(
        "{} blocks, {} on other threads freed; {} stacks of {} records; {} readings; {} states, {exchanged} of which were in \
         several places; {} bytes of threads' own lines",
        COUNTED.words()[0],
        MAILBOXES.taken(),
        seen.issued,
        seen.records,
        seen.readings,
        seen.states,
        seen.pages,
    );
    if fault == Fault::Nothing {
        assert_eq!(seen.totals, COUNTED.words(), "the totals and what was counted here");
        assert_eq!(seen.rows, seen.totals, "the rows and the totals");
        assert_eq!(seen.totals[..2], seen.totals[2..], "all is freed");
        assert!(exchanged > 0 && seen.pages > 0 && MAILBOXES.taken() > 0 && seen.records > 0 && seen.readings > 1);
    }
}

/// One thread after the other, each of which has a state, or none.
fn place_of_threads(place: u64, rounds: u64, fault: Fault, shared: Option<Member>) {
    for round in 0..rounds {
        let body = move || {
            let member = match (shared, round % 8) {
                (Some(member), _) => member,
                (None, 7) => Member::stateless(),
                (None, _) => Member::begin(),
            };
            if let Some(number) = member.state() {
                HAD_BY[number % HAD_BY.len()].fetch_or(1 << place, Ordering::Relaxed);
            }
            work(member, &mut Random::new(place * rounds + round), fault);
            if shared.is_none() {
                member.end();
            }
        };
        threads::spawn(body).join();
    }
}

/// Allocates on many stacks, frees, and hands over.
fn work(member: Member, random: &mut Random, fault: Fault) {
    for _ in 0..OPERATIONS {
        // Few stacks often, many once; small blocks, larger ones, and some of pages.
        let path = if random.below(4) == 0 { random.below(1 << 9) } else { random.below(8) };
        let size = match random.below(16) {
            0 => 4096 + random.below(8192),
            1..=3 => 256 + random.below(2048),
            _ => 1 + random.below(255),
        };
        let held = stacks::at(path as u64, &mut || member.allocate(size));
        match random.below(3) {
            0 => {
                if let Some(theirs) = MAILBOXES.exchange(random, held, fault) {
                    member.free(theirs);
                }
            }
            _ => member.free(held),
        }
    }
}
