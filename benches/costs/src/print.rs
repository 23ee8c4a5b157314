//! The lines that the driver reads: `key=value` words, as those of the workloads.

pub(crate) fn number(metric: &str, unit: &str, value: f64) {
    println!("metric={metric} unit={unit} better=lower value={value:.4}");
}

/// The middle one; of an even number the upper of the two.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
