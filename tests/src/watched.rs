//! heaptally between two ledgers: what the program asks of it, and what it asks of the system.
//!
//! A test declares [`watched`] as its global allocator and calls [`assert_exact`] at its quiet points.

use heaptally::TallyAlloc;

use crate::{Ledger, Oracle, Strict, assert_conserved, assert_settles};

/// What the program has asked for.
pub static ASKED: Ledger = Ledger::new();
/// What the system's allocator was asked for.
pub static SERVED: Ledger = Ledger::new();

/// See the module's head.
pub type Watched = Oracle<TallyAlloc<Oracle<Strict>>>;

/// The global allocator of a test.
pub const fn watched() -> Watched {
    Oracle::new(TallyAlloc::new(Oracle::new(Strict, &SERVED)), &ASKED)
}

/// Asserts, at a quiet point, that heaptally's totals are what the program asked for, that the system was asked for
/// that and a tag more for each small block, and that the rows of a snapshot add up.
///
/// Frees of blocks that heaptally does not know are in both ledgers and not in its totals: there must be none so far.
#[track_caller]
pub fn assert_exact(what: &str) {
    assert_settles(what, || (heaptally::totals().counts(), ASKED.counts()));
    assert_settles(what, || (ASKED.with_tags(), SERVED.counts()));
    let snapshot = assert_conserved(what);
    assert_eq!(snapshot.losses().unknown_frees.blocks, 0, "{what}");
    assert_settles(what, || (heaptally::totals().counts(), ASKED.counts()));
}
