//! Which charts there are of a record. Pure.

use crate::bars;
use crate::curve;
use crate::record::{self, Record};

pub(crate) struct Plot {
    /// Of the file, without its ending.
    pub(crate) name: String,
    pub(crate) svg: String,
}

/// Bars for each metric of a workload; a curve for a workload whose metrics are counts of threads.
pub(crate) fn all(record: &Record) -> Vec<Plot> {
    let mut plots = Vec::new();
    for rows in record.workloads() {
        let metrics = record::metrics(rows);
        let workload = &rows[0].workload;
        if curve::counts(&metrics).is_some() {
            plots.extend(curve::chart(workload, rows, record).map(|svg| Plot { name: workload.clone(), svg }));
            continue;
        }
        for metric in &metrics {
            let name = record::label(workload, metric, metrics.len());
            plots.extend(bars::chart(&name, metric, rows, record).map(|svg| Plot { name, svg }));
        }
    }
    plots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{measured, record};

    #[test]
    fn each_metric_is_a_plot_and_counts_of_threads_are_one() {
        let names = |record: &Record| all(record).into_iter().map(|plot| plot.name).collect::<Vec<_>>();
        let mut record = record(&[("system", &[10.0]), ("heaptally", &[24.0]), ("system", &[11.0])]);
        assert_eq!(names(&record), ["pairs33"]);
        measured(&mut record.rows[2]).metric.name = "p99".to_owned();
        assert_eq!(names(&record), ["pairs33.time", "pairs33.p99"]);
        measured(&mut record.rows[0]).metric.name = "1".to_owned();
        measured(&mut record.rows[1]).metric.name = "1".to_owned();
        measured(&mut record.rows[2]).metric.name = "2".to_owned();
        assert_eq!(names(&record), ["pairs33"]);
    }
}
