//! What a value of a workload is: most have one metric, some have several.

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

impl Metric {
    /// How many times worse a value is than another: above 1 whatever the direction.
    pub(crate) fn ratio(&self, value: f64, to: f64) -> f64 {
        match self.better {
            Better::Lower => value / to,
            Better::Higher => to / value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worse_has_a_ratio_above_one() {
        let metric = |better| Metric { name: String::new(), unit: String::new(), better };
        assert_eq!(metric(Better::Lower).ratio(30.0, 10.0), 3.0);
        assert_eq!(metric(Better::Higher).ratio(10.0, 30.0), 3.0);
    }
}
