//! How sure a number made of medians is: the medians of samples drawn again and again from those that were measured.
//!
//! Pure, and the same for the same samples. What differs from one build or one hour to the next is not in it.

use crate::cell::Summary;
use crate::order::Order;

const DRAWS: usize = 2000;
/// Left out at either end: the interval has 99 % of the draws, as a report has hundreds of rows.
const TAIL: usize = DRAWS / 200;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Fewer values say nothing of how far apart they are.
pub(crate) const LEAST_SAMPLES: usize = 3;

/// The interval of a function of the medians of several series; of three values in each it is all that they allow.
/// `None` if a series has fewer than [`LEAST_SAMPLES`].
pub(crate) fn interval<const N: usize>(series: [&[f64]; N], of: impl Fn([f64; N]) -> f64) -> Option<(f64, f64)> {
    if series.iter().any(|samples| samples.len() < LEAST_SAMPLES) {
        return None;
    }
    let mut order = Order::from_seed(SEED);
    let mut drawn: Vec<f64> =
        (0..DRAWS).map(|_| of(series.map(|samples| median_of_a_draw(samples, &mut order)))).collect();
    drawn.sort_by(f64::total_cmp);
    Some((drawn[TAIL], drawn[DRAWS - 1 - TAIL]))
}

fn median_of_a_draw(samples: &[f64], order: &mut Order) -> f64 {
    let drawn: Vec<f64> = samples.iter().map(|_| samples[order.below(samples.len())]).collect();
    Summary::of(&drawn).map_or(f64::NAN, |summary| summary.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_samples_there_is_one_value() {
        assert_eq!(interval([&[2.0; 5], &[4.0; 7]], |[a, b]| b / a), Some((2.0, 2.0)));
    }

    #[test]
    fn of_three_it_is_all_that_they_allow() {
        // A draw of three has a median at an end in 7 of 27 cases.
        assert_eq!(interval([&[3.0, 1.0, 2.0]], |[a]| a), Some((1.0, 3.0)));
        assert_eq!(interval([&[3.0, 1.0, 2.0], &[10.0, 20.0, 40.0]], |[a, b]| b / a), Some((10.0 / 3.0, 40.0)));
    }

    #[test]
    fn an_outlier_of_many_does_not_widen_it() {
        // Four of nine drawn values or more would have to be the outlier: 1.5 % of the draws have three.
        let samples = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 50.0];
        assert_eq!(interval([&samples], |[a]| a), Some((1.0, 1.0)));
    }

    #[test]
    fn of_two_samples_nothing_is_known() {
        assert_eq!(interval([&[1.0, 2.0], &[1.0, 2.0, 3.0]], |[a, b]| a + b), None);
    }
}
