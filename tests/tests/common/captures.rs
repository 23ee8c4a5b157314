//! Runs tests in processes of their own, one for each way of taking stacks: what is configured holds for a process, and
//! the main thread's stack is unlike the others, so the test is on it.
//!
//! The `main` of a test binary without the usual harness. Two of the ways compare every capture with the platform's
//! unwinder, frame by frame, and abort with both stacks when they differ. The third is what programs do: there the
//! numbers of the test must tell.

use std::fmt::{self, Debug};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use heaptally::{Config, Counts, OnMismatch, SiteKind, Snapshot, TraceReuse};

use crate::{conserved, watchdog};

/// A behaviour, and what shows it.
pub(crate) type Test = (&'static str, fn(Way));

/// First argument of a child; its test and its way follow.
const CHILD: &str = "--child";
const LIMIT: Duration = Duration::from_secs(120);

/// Blocks in a row with the same stack, on each thread.
const ALIKE: u64 = 100;

/// How stacks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// With what is left of the previous one; verified.
    Reusing,
    /// Every frame every time; verified.
    Fresh,
    /// As by default, with the shortcut for a stack that did not change, which cannot be compared.
    Unverified,
}

impl Way {
    const ALL: [Self; 3] = [Self::Reusing, Self::Fresh, Self::Unverified];

    pub(crate) fn config(self) -> Config {
        let config = Config::new().modules([env!("CARGO_CRATE_NAME")]);
        let verified = |config: Config| config.verify_captures(NonZeroU32::MIN, OnMismatch::Abort);
        match self {
            Self::Reusing => verified(config),
            Self::Fresh => verified(config).trace_reuse(TraceReuse::Off),
            Self::Unverified => config,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(self, f)
    }
}

/// Runs those of `tests` whose names contain one of the arguments, all without arguments.
pub(crate) fn main(tests: &[Test]) {
    if cfg!(heaptally_portable) {
        return println!("skipped: no stacks are captured here");
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [first, test, way] = &arguments[..]
        && first == CHILD
    {
        let (_, body) = tests.iter().find(|(name, _)| name == test).expect("a test");
        let way = Way::ALL.into_iter().find(|known| known.to_string() == *way).expect("a way");
        watchdog::abort_unless_done_in(LIMIT, "captures");
        return body(way);
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    for (test, _) in tests.iter().filter(|(name, _)| filters.is_empty() || filters.iter().any(|&f| name.contains(f))) {
        let children = Way::ALL.map(|way| (way, start_child(test, way)));
        for (way, child) in children {
            let output = child.wait_with_output().expect("its output");
            let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{test}, {way}: {}\n{printed}{errors}", output.status);
            println!("{test}, {way}: ok\n{printed}{errors}");
        }
    }
}

fn start_child(test: &str, way: Way) -> Child {
    let mut child = Command::new(env::current_exe().expect("a path"));
    child.args([CHILD, test, &way.to_string()]).stdout(Stdio::piped()).stderr(Stdio::piped());
    child.spawn().expect("a child")
}

/// Runs `body` on the calling thread and then on one of its own, after some blocks that all have the same stack.
pub(crate) fn on_two_threads(body: fn()) {
    let twice = move || {
        some_alike();
        body();
    };
    twice();
    thread::spawn(twice).join().expect("no panic");
}

/// Blocks that all have the same stack.
pub(crate) fn some_alike() {
    (0..ALIKE).for_each(|_| drop(black_box(Box::new(black_box(0_u8)))));
}

/// A snapshot of a quiet point whose blocks all have a stack that the rules gave, and whose captures are of the kinds
/// that the way of taking them has.
pub(crate) fn snapshot(way: Way) -> Snapshot {
    let snapshot = conserved::quiet_snapshot().expect("a quiet point");
    for kind in [SiteKind::NoStack, SiteKind::Overflow] {
        assert_eq!(counts_of_kind(&snapshot, kind), Counts::ZERO, "{kind:?}: {:?}", snapshot.losses());
    }
    let captures = snapshot.captures();
    assert_eq!((captures.fallbacks(), captures.implausible), (0, 0), "{captures:?}");
    assert_kinds(way, &snapshot);
    snapshot
}

/// The part of [`snapshot`] that holds, too, where the platform's unwinder must help.
pub(crate) fn assert_kinds(way: Way, snapshot: &Snapshot) {
    let captures = snapshot.captures();
    println!("{captures:?}");
    assert_eq!(captures.mismatched, 0);
    assert_eq!(captures.by_unwound.iter().sum::<u64>(), captures.reused + captures.joined + captures.fresh);
    match way {
        Way::Unverified => assert_eq!(captures.verified, 0),
        Way::Reusing | Way::Fresh => {
            assert!(captures.verified > 0);
            assert_eq!(captures.verified, captures.reused + captures.joined + captures.fresh);
        }
    }
    match way {
        Way::Fresh => assert_eq!((captures.reused, captures.joined), (0, 0)),
        Way::Reusing | Way::Unverified => {
            // Where little more than the hook's own frame is kept, nothing is left to be joined.
            assert!(captures.reused >= ALIKE - 1 && (captures.joined > 0 || captures.truncated > 0), "{captures:?}");
        }
    }
}

/// Of one row that is not a function's.
pub(crate) fn counts_of_kind(snapshot: &Snapshot, kind: SiteKind) -> Counts {
    let row = snapshot.by_function().into_iter().find(|row| row.kind() == kind);
    row.map_or(Counts::ZERO, |row| row.counts())
}

/// Asserts what each function has allocated: blocks, all of the same size.
#[track_caller]
pub(crate) fn assert_charged(snapshot: &Snapshot, expected: &[(&str, u64, u64)]) {
    for &(function, blocks, block_bytes) in expected {
        let counts = snapshot.function(function).map_or(Counts::ZERO, |row| row.counts());
        let charged = (counts.allocated_blocks, counts.allocated_bytes);
        assert_eq!(charged, (blocks, blocks * block_bytes), "{function}");
    }
}
