//! Words through which blocks pass from thread to thread, whichever comes by.
//!
//! What orders one thread's use of a block before the other's is the Release and the Acquire of the exchange, as in a
//! program, and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Fault;
use crate::member::Held;
use crate::random::Random;

const BOXES: usize = 16;

/// See the module's head.
pub(crate) struct Mailboxes {
    /// [`Held::word`], or 0.
    boxes: [AtomicU64; BOXES],
    taken: AtomicU64,
}

impl Mailboxes {
    pub(crate) const fn new() -> Self {
        Self { boxes: [const { AtomicU64::new(0) }; BOXES], taken: AtomicU64::new(0) }
    }

    /// Puts a block into one of the boxes and returns what was in it.
    pub(crate) fn exchange(&self, random: &mut Random, held: Held, fault: Fault) -> Option<Held> {
        self.swap(random.below(BOXES), held.word(), fault)
    }

    /// Takes a block out of any of the boxes.
    pub(crate) fn take_any(&self, fault: Fault) -> Option<Held> {
        (0..BOXES).find_map(|index| self.swap(index, 0, fault))
    }

    fn swap(&self, index: usize, word: u64, fault: Fault) -> Option<Held> {
        let order = if fault == Fault::HandOver { Ordering::Relaxed } else { Ordering::AcqRel };
        let theirs = Held::from_word(self.boxes[index].swap(word, order))?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(theirs)
    }

    /// Blocks that were taken out.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}
