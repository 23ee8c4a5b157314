//! Who sees that no operation is in progress sees what those have counted that it has heard of.

extern crate std;

use super::fault::Instead::{Relaxed, Torn};
use super::fault::fault;
use super::{Model, all_three};
use crate::counter::Line;
use crate::in_flight::InFlight;

static IN_FLIGHT: InFlight = InFlight::new();
static TOTALS: Line = Line::new();
static ROW: Line = Line::new();

/// As `count_shared` of `hook/shared.rs`, by two threads, and a snapshot.
const TWO: Model = Model::new(|| {
    let count = || {
        assert!(IN_FLIGHT.during(|| {
            TOTALS.add_allocated(1);
            ROW.add_allocated(1);
        }));
    };
    all_three(count, count, || {
        let totals = TOTALS.allocated();
        if !IN_FLIGHT.any() {
            let row = ROW.allocated();
            assert!(row[0] >= totals[0] && row[1] >= totals[1], "{row:?} of {totals:?}");
        }
    });
    assert!(!IN_FLIGHT.any());
})
.with_preemptions(3);

#[test]
fn who_finds_nothing_in_flight_finds_the_rows() {
    TWO.holds();
    TWO.fails_with(fault!("in_flight.rs", "fn during", ".fetch_update", Relaxed));
    TWO.fails_with(fault!("in_flight.rs", "fn any", ".load", Relaxed));
    TWO.fails_with(fault!("in_flight.rs", "fn during", ".fetch_add", Torn));
    TWO.fails_with(fault!("counter.rs", "fn add(", ".fetch_add", Relaxed));
}
