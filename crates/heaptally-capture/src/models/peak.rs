//! The highest that was live is known, and rings the bell if it was waited for.

extern crate std;

use super::fault::Instead::Torn;
use super::fault::fault;
use super::{Model, all_three, both};
use crate::doorbell::Doorbell;
use crate::peak::Peak;

static PEAK: Peak = Peak::new();
static BELL: Doorbell = Doorbell::new();

/// Two threads tell, one of them up and down; a height of both together was waited for.
const TOLD: Model = Model::new(|| {
    PEAK.ring_at(100);
    let goes_down = || {
        PEAK.tell(60, &BELL);
        PEAK.tell(-60, &BELL);
        PEAK.tell(70, &BELL);
    };
    both(|| PEAK.tell(50, &BELL), goes_down);
    assert_eq!(PEAK.highest_bytes(), 120);
    assert!(BELL.is_rung(), "a height that nobody is told of");
});

/// As above, while the aggregator asks for a ring: what was reached is in the highest, so that the next look finds it.
const ASKED: Model = Model::new(|| {
    let (highest, (), ()) = all_three(
        || {
            PEAK.ring_at(100);
            PEAK.highest_bytes()
        },
        || PEAK.tell(50, &BELL),
        || PEAK.tell(60, &BELL),
    );
    assert!(highest <= 110 && PEAK.highest_bytes() == 110);
})
.with_preemptions(3);

#[test]
fn the_highest_is_known_and_rings_if_it_was_waited_for() {
    TOLD.holds();
    ASKED.holds();
    TOLD.fails_with(fault!("peak.rs", "fn tell", "told.fetch_add", Torn));
    TOLD.fails_with(fault!("peak.rs", "fn rise_to", "highest.fetch_max", Torn));
    ASKED.fails_with(fault!("peak.rs", "fn tell", "told.fetch_add", Torn));
}
