//! One answer from the aggregator to whoever asked and waits.
//!
//! Waiting allocates nothing (std's channels do, for their list of waiters): a snapshot taken at a quiet point must
//! not find the caller's own allocation in the middle of being counted.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

enum Slot<T> {
    Empty,
    Answered(T),
    /// The promise was dropped: there will be no answer.
    Broken,
}

struct Shared<T> {
    slot: Mutex<Slot<T>>,
    changed: Condvar,
}

/// The aggregator's end.
pub(crate) struct Promise<T>(Arc<Shared<T>>);

/// The end of who asked.
pub(crate) struct Answer<T>(Arc<Shared<T>>);

/// Both ends of one question.
pub(crate) fn promise<T>() -> (Promise<T>, Answer<T>) {
    let shared = Arc::new(Shared { slot: Mutex::new(Slot::Empty), changed: Condvar::new() });
    (Promise(Arc::clone(&shared)), Answer(shared))
}

impl<T> Promise<T> {
    pub(crate) fn keep(self, answer: T) {
        self.settle(Slot::Answered(answer));
    }

    fn settle(&self, outcome: Slot<T>) {
        let mut slot = self.0.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*slot, Slot::Empty) {
            *slot = outcome;
        }
        self.0.changed.notify_one();
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.settle(Slot::Broken);
    }
}

impl<T> Answer<T> {
    /// Blocks until the answer is there; `None` when the promise was dropped without one.
    pub(crate) fn wait(self) -> Option<T> {
        let mut slot = self.0.slot.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match std::mem::replace(&mut *slot, Slot::Broken) {
                Slot::Answered(answer) => return Some(answer),
                Slot::Broken => return None,
                Slot::Empty => *slot = Slot::Empty,
            }
            slot = self.0.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn an_answer_arrives_whoever_comes_first() {
        let (promise, answer) = super::promise();
        promise.keep(7);
        assert_eq!(answer.wait(), Some(7));
        let (promise, answer) = super::promise();
        let waiting = thread::spawn(move || answer.wait());
        promise.keep("later");
        assert_eq!(waiting.join().unwrap(), Some("later"));
    }

    #[test]
    fn a_broken_promise_is_told() {
        let (promise, answer) = promise::<u8>();
        drop(promise);
        assert_eq!(answer.wait(), None);
    }
}
