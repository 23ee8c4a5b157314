//! What a value of a workload is: most have one metric, some have several.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Metric {
    #[serde(rename = "metric")]
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
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
