//! Where another tracker is faster than heaptally. Pure.

use crate::bootstrap::LEAST_SAMPLES;
use crate::number;
use crate::record::{self, Measured, Record, Role, Row};

/// A line for each metric in which heaptally loses, by medians, to what keeps something as well. A `~` marks those that
/// are not sure: their processes' values overlap heaptally's, or are too few.
pub(crate) fn losses(record: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    for rows in record.workloads() {
        let metrics = record::metrics(rows);
        for metric in &metrics {
            let of_metric = |row: &&Row| row.measured().is_some_and(|measured| measured.metric == **metric);
            let rows: Vec<&Row> = rows.iter().filter(of_metric).collect();
            let Some(ours) = rows.iter().find(|row| row.subject == "heaptally") else { continue };
            let Some(our) = ours.measured() else { continue };
            let trackers = rows.iter().filter(|row| record.role_of(&row.subject) == Some(Role::Tracker));
            let mut faster: Vec<(f64, String)> = Vec::new();
            for row in trackers {
                let Some(their) = row.measured().filter(|their| metric.ratio(our.median, their.median) > 1.0) else {
                    continue;
                };
                let is_known = their.runs.min(our.runs) >= LEAST_SAMPLES;
                let overlap = if is_known && (their.min > our.max || our.min > their.max) { "" } else { "~" };
                let named = format!("{} {}{overlap}", row.subject, cost(their));
                faster.push((metric.ratio(our.median, their.median), named));
            }
            faster.sort_by(|a, b| b.0.total_cmp(&a.0));
            if !faster.is_empty() {
                let named: Vec<_> = faster.into_iter().map(|(_, named)| named).collect();
                let label = record::label(&ours.workload, metric, metrics.len());
                lines.push(format!("`{label}` ({}): {}", cost(our), named.join(", ")));
            }
        }
    }
    lines
}

/// The ratio to System, or the number itself.
fn cost(measured: &Measured) -> String {
    match measured.ratio_to_system {
        Some(ratio) => number::decimal(ratio),
        None => number::amount(measured.median, &measured.metric.unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    #[test]
    fn the_best_is_named_first_and_overlaps_are_marked() {
        let record = record(&[
            ("system", &[10.0, 10.0, 10.0]),
            ("heaptally-paused", &[11.0, 11.0, 11.0]),
            ("heaptally", &[22.0, 24.0, 25.0]),
            ("mimalloc", &[5.0, 5.0, 5.0]),
            ("near", &[20.0, 23.0, 26.0]),
            ("stats_alloc", &[13.0, 13.0, 13.0]),
            ("once", &[21.0]),
            ("dhat", &[900.0]),
        ]);
        assert_eq!(losses(&record), ["`pairs33` (2.40): stats_alloc 1.30, once 2.10~, near 2.30~"]);
    }

    #[test]
    fn alone_it_does_not_lose() {
        assert_eq!(losses(&record(&[("system", &[10.0]), ("heaptally", &[24.0])])), [""; 0]);
        assert_eq!(losses(&record(&[("dhat", &[10.0])])), [""; 0]);
    }
}
