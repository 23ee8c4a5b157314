//! Who owns a thread state, and what it had counted before: what tells one owner's part of its sums from the others'.
//!
//! Written by the thread that takes the state or offers it, and in a forked child by the survivor; read by snapshots.
//! Allocates nothing; [`Owner::begin`] makes one system call.
//!
//! ```text
//!  [ term: 32 │ thread id: 32 ]        id 0: nobody's
//!
//!  (n, 0) ── begin ──► (n + 1, id) ── end ──► (n + 1, 0)
//! ```
//!
//! # Synchronization
//!
//! A snapshot looks at the term, reads the base and what was counted, and looks at the term again ([`Owner::is_still`]).
//! *It does not read too early*: `begin` comes after `set_base` and publishes it (Release, Acquire in [`Owner::now`]), and
//! with it what earlier owners have counted, which the free list ordered before. *It does not read too late*: what a later
//! owner stores, in `base` or in a counter, it stores with Release after the end of the term, which came to it by the free
//! list. A snapshot that has read such a word (Acquire) therefore finds the term ended.

use crate::sync::{AtomicU64, Ordering};
use crate::sys;

const TERM: u64 = 1 << 32;

/// See the module's head. Zeroed memory is nobody's.
pub(crate) struct Owner {
    term: AtomicU64,
    /// What the owner's counts begin at: `[allocated blocks, allocated bytes, freed blocks, freed bytes]`.
    base: [AtomicU64; 4],
}

/// The time in which one thread owns a state: no two of a state are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term(u64);

impl Term {
    /// The system's id of the thread, 0 while the state is nobody's.
    pub fn thread_id(self) -> u32 {
        self.0 as u32
    }
}

impl Owner {
    /// Notes where the counts of the next owner begin, which is about to take the state.
    pub(crate) fn set_base(&self, words: [u64; 4]) {
        for (base, word) in self.base.iter().zip(words) {
            // Release: pairs with the Acquire in `base`. See the module's head.
            base.store(word, Ordering::Release);
        }
    }

    /// Begins the term of the calling thread, after [`Owner::set_base`].
    pub(crate) fn begin(&self) {
        self.begin_as(|_| sys::thread_id());
    }

    /// On the owner's thread, which may have got another id by a fork.
    pub(crate) fn renew(&self) {
        self.begin_as(|before| if before.thread_id() == 0 { 0 } else { sys::thread_id() });
    }

    fn begin_as(&self, id_after: impl Fn(Term) -> u32) {
        loop {
            let before = self.term.load(Ordering::Relaxed);
            let next = (before & !(TERM - 1)).wrapping_add(TERM) | u64::from(id_after(Term(before)));
            // Release: pairs with the Acquire in `now`. Compare-and-swap: a handler may fork after the system call, and the
            // child's thread has another id, which the child has set meanwhile.
            if self.term.compare_exchange(before, next, Ordering::Release, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Ends the term, if there is one. The owner has counted for the last time.
    pub(crate) fn end(&self) {
        // Relaxed: the owner's own, or in a forked child.
        let term = self.term.load(Ordering::Relaxed);
        // Release: whoever learns of the end knows all that the owner has counted.
        self.term.store(term & !(TERM - 1), Ordering::Release);
    }

    /// Who owns the state now.
    pub(crate) fn now(&self) -> Term {
        // Acquire: pairs with the Release in `begin`.
        Term(self.term.load(Ordering::Acquire))
    }

    /// What the owner's counts began at.
    pub(crate) fn base(&self) -> [u64; 4] {
        // Acquire: pairs with the Release in `set_base`.
        self.base.each_ref().map(|word| word.load(Ordering::Acquire))
    }

    /// Whether all that was read since `term` began is of that term.
    pub(crate) fn is_still(&self, term: Term) -> bool {
        // Relaxed: comes after the Acquire of what was read.
        self.term.load(Ordering::Relaxed) == term.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobodys() -> Owner {
        Owner { term: AtomicU64::new(0), base: [const { AtomicU64::new(0) }; 4] }
    }

    #[test]
    fn a_term_is_over_when_it_ends_and_when_the_same_thread_begins_another() {
        let owner = nobodys();
        assert_eq!(owner.now().thread_id(), 0);
        owner.set_base([1, 2, 3, 4]);
        owner.begin();
        let first = owner.now();
        assert_eq!((first.thread_id(), owner.base()), (sys::thread_id(), [1, 2, 3, 4]));
        assert!(owner.is_still(first));
        owner.end();
        assert!(owner.now().thread_id() == 0 && !owner.is_still(first));
        // A second end changes nothing.
        let ended = owner.now();
        owner.end();
        assert_eq!(owner.now(), ended);
        owner.begin();
        assert!(owner.now().thread_id() == first.thread_id() && !owner.is_still(first));
    }

    #[test]
    fn renewing_gives_nobody_a_thread_and_makes_a_thread_that_is_about_to_begin_ask_again() {
        let owner = nobodys();
        let nobody = owner.now();
        owner.renew();
        assert!(owner.now().thread_id() == 0 && !owner.is_still(nobody));
        owner.begin();
        let begun = owner.now();
        owner.renew();
        assert!(owner.now().thread_id() == begun.thread_id() && !owner.is_still(begun));
    }
}
