//! Whoever rings is heard: what was asked for is seen, at once or after the next wait.

extern crate std;

use core::time::Duration;

use super::fault::Instead::{Relaxed, Torn};
use super::fault::fault;
use super::{Model, all_three, leak};
use crate::doorbell::Doorbell;
use crate::sync::{AtomicU32, Ordering};

static BELL: Doorbell = Doorbell::new();

/// Two threads ask for something each; a third waits until it has seen both. No time passes in a model: a ring that is lost
/// is a wait for ever.
const HEARD: Model = Model::new(|| {
    let work: &'static [AtomicU32; 2] = leak([const { AtomicU32::new(0) }; 2]);
    let [first, second] = [0, 1].map(|n: usize| {
        move || {
            work[n].store(1, Ordering::Relaxed);
            BELL.ring();
        }
    });
    all_three(first, second, move || {
        loop {
            BELL.wait(Duration::ZERO);
            if work.iter().all(|done| done.load(Ordering::Relaxed) == 1) {
                return;
            }
        }
    });
})
.with_preemptions(3);

#[test]
fn a_ring_during_the_work_is_kept_for_the_next_wait() {
    HEARD.holds();
    HEARD.fails_with(fault!("doorbell.rs", "fn ring", ".swap", Relaxed));
    HEARD.fails_with(fault!("doorbell.rs", "fn wait", ".swap", Relaxed));
    HEARD.fails_with(fault!("doorbell.rs", "fn wait", ".swap", Torn));
}
