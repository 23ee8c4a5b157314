//! An axis: values to places, and where its ticks are. Pure.

/// Axes whose values are further apart than this are logarithmic: the small ones would be one pixel.
const LINEAR_UP_TO: f64 = 10.0;
const MOST_TICKS: f64 = 6.0;

#[derive(Debug)]
pub(crate) struct Scale {
    logarithmic: bool,
    low: f64,
    high: f64,
    /// Of the low end and of the high end, in pixels.
    places: (f64, f64),
}

impl Scale {
    /// For values above zero from `low` to `high`: linear from 0, or logarithmic if they are far apart.
    pub(crate) fn fitting(low: f64, high: f64, places: (f64, f64)) -> Self {
        if high / low > LINEAR_UP_TO { Self::logarithmic(low, high, places) } else { Self::linear(high, places) }
    }

    fn linear(high: f64, places: (f64, f64)) -> Self {
        Self { logarithmic: false, low: 0.0, high: high * 1.02, places }
    }

    /// A little wider than the values.
    pub(crate) fn logarithmic(low: f64, high: f64, places: (f64, f64)) -> Self {
        Self { logarithmic: true, low: low / 1.1, high: high * 1.1, places }
    }

    pub(crate) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    pub(crate) fn at(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.places.0 + part.clamp(0.0, 1.0) * (self.places.1 - self.places.0)
    }

    /// Round numbers within the axis.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        if self.logarithmic { self.logarithmic_ticks() } else { self.linear_ticks() }
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let least = self.high / MOST_TICKS;
        let decade = 10_f64.powf(least.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade).into_iter().find(|step| *step >= least);
        let step = step.unwrap_or(least);
        (0..).map(|count| rounded(f64::from(count) * step)).take_while(|tick| *tick <= self.high).collect()
    }

    fn logarithmic_ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let digits: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let exponents = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let ticks =
            exponents.flat_map(|exponent| digits.iter().map(move |digit| rounded(digit * 10_f64.powi(exponent))));
        ticks.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

/// Without what arithmetic with tenths leaves behind.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_values_are_on_a_line_from_zero() {
        let scale = Scale::fitting(1.0, 5.0, (100.0, 202.0));
        assert!(!scale.is_logarithmic());
        assert_eq!([0.0, 2.55, 5.1].map(|value| scale.at(value).round()), [100.0, 151.0, 202.0]);
        assert_eq!(scale.ticks(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(Scale::fitting(1.0, 1.2, (0.0, 1.0)).ticks(), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn far_ones_have_a_decade_each() {
        let scale = Scale::fitting(1.1, 1000.0 / 1.1, (0.0, 300.0));
        assert!(scale.is_logarithmic());
        assert_eq!([1.0, 10.0, 100.0, 1000.0].map(|value| scale.at(value).round()), [0.0, 100.0, 200.0, 300.0]);
        assert_eq!(Scale::fitting(0.5, 4000.0, (0.0, 1.0)).ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(Scale::fitting(0.9, 21.0, (0.0, 1.0)).ticks(), [1.0, 2.0, 5.0, 10.0, 20.0]);
    }

    #[test]
    fn an_axis_may_run_upwards() {
        let scale = Scale::fitting(10.0, 20.0, (300.0, 0.0));
        assert_eq!((scale.at(0.0), scale.at(20.4)), (300.0, 0.0));
    }
}
