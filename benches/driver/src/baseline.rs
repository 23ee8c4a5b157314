//! What has changed since an earlier record, and how sure that is. Pure.
//!
//! Compared are ratios to System, because both records have measured System between all others: a slower machine is
//! slower for it too. System's own row tells how much slower.

use crate::bootstrap::{self, LEAST_SAMPLES};
use crate::number;
use crate::record::{self, Measured, Record, Role, Row};
use crate::table::{Column, Table};

/// Of one row that both records have.
pub(crate) struct Change {
    label: String,
    subject: String,
    /// Whether a regression of it counts: heaptally's does.
    judged: bool,
    before: String,
    now: String,
    /// In percent; above zero is worse, whatever the metric's direction.
    percent: f64,
    /// 99 % of what the samples allow. `None` if there are too few.
    interval: Option<(f64, f64)>,
}

pub(crate) struct Comparison {
    /// What else is different, or says that it is not.
    labels: Vec<String>,
    changes: Vec<Change>,
    /// What only one of the records has a number for.
    apart: Vec<String>,
}

pub(crate) fn compare(old: &Record, new: &Record) -> Comparison {
    let mut changes = Vec::new();
    let mut apart = Vec::new();
    for rows in new.workloads() {
        let of = record::metrics(rows).len();
        for row in rows {
            let Some(measured) = row.measured() else { continue };
            let label = record::label(&row.workload, &measured.metric, of);
            match find(old, row, measured) {
                Some((old_row, before)) => changes.push(change(label, (old, old_row, before), (new, row, measured))),
                None => apart.push(format!("`{label}`, {}: not in the baseline", row.subject)),
            }
        }
    }
    // What was not asked for this time is not missing.
    let asked =
        |row: &&Row| new.rows.iter().any(|other| other.workload == row.workload && other.subject == row.subject);
    for row in old.rows.iter().filter(asked) {
        if let Some(measured) = row.measured()
            && find(new, row, measured).is_none()
        {
            apart.push(format!("`{}`, {}: {} only in the baseline", row.workload, row.subject, measured.metric.name));
        }
    }
    Comparison { labels: labels(old, new), changes, apart }
}

fn find<'a>(record: &'a Record, row: &Row, measured: &Measured) -> Option<(&'a Row, &'a Measured)> {
    let same = record.rows.iter().filter(|other| other.workload == row.workload && other.subject == row.subject);
    same.filter_map(|other| Some((other, other.measured()?))).find(|(_, other)| other.metric == measured.metric)
}

fn change(label: String, old: (&Record, &Row, &Measured), new: (&Record, &Row, &Measured)) -> Change {
    let (row, metric) = (new.1, &new.2.metric);
    let systems = old.0.system_of(old.1).zip(new.0.system_of(new.1)).filter(|_| row.subject != "system");
    let (before, now, worse, interval) = match systems {
        Some((old_system, new_system)) => {
            let worse = |[old, old_system, new, new_system]: [f64; 4]| {
                metric.ratio(new, new_system) / metric.ratio(old, old_system)
            };
            let ratios = [metric.ratio(old.2.median, old_system.median), metric.ratio(new.2.median, new_system.median)];
            let [before, now] = ratios.map(number::decimal);
            let series = [old.2, old_system, new.2, new_system].map(|measured| measured.samples.as_slice());
            (before, now, ratios[1] / ratios[0], bootstrap::interval(series, worse))
        }
        None => {
            let [before, now] = [old.2.median, new.2.median].map(|median| number::amount(median, &metric.unit));
            let series = [old.2, new.2].map(|measured| measured.samples.as_slice());
            let interval = bootstrap::interval(series, |[old, new]| metric.ratio(new, old));
            (before, now, metric.ratio(new.2.median, old.2.median), interval)
        }
    };
    let percent = |times: f64| (times - 1.0) * 100.0;
    Change {
        label,
        subject: row.subject.clone(),
        judged: new.0.role_of(&row.subject) == Some(Role::Heaptally),
        before,
        now,
        percent: percent(worse),
        interval: interval.map(|(low, high)| (percent(low), percent(high))),
    }
}

fn labels(old: &Record, new: &Record) -> Vec<String> {
    let (was, is) = (&old.conditions, &new.conditions);
    let mut labels = Vec::new();
    if (&was.cpu, was.cores) != (&is.cpu, is.cores) {
        labels.push(format!(
            "**the baseline is of another machine**: {}, {} cores; ratios to System differ by processor",
            was.cpu, was.cores
        ));
    }
    for (what, was, is) in
        [("kernel", &was.kernel, &is.kernel), ("libc", &was.libc, &is.libc), ("compiler", &was.rustc, &is.rustc)]
    {
        if was != is {
            labels.push(format!("another {what}: the baseline's is {was}"));
        }
    }
    if old.method.quick != new.method.quick {
        let (was, is) = if old.method.quick { ("with", "without") } else { ("without", "with") };
        labels.push(format!("**another method**: the baseline is {was} --quick, this is {is}; inputs differ"));
    }
    labels
}

impl Change {
    /// Whether it is worse by more than this, and more than the samples alone explain.
    fn is_above(&self, percent: f64) -> bool {
        self.judged && self.percent > percent && self.interval.is_some_and(|(low, _)| low > 0.0)
    }

    fn verdict(&self, fail_above: Option<f64>) -> String {
        match self.interval {
            None => format!("unknown: fewer than {LEAST_SAMPLES} runs"),
            _ if fail_above.is_some_and(|percent| self.is_above(percent)) => "**regression**".to_owned(),
            Some((low, _)) if low > 0.0 => "worse".to_owned(),
            Some((_, high)) if high < 0.0 => "better".to_owned(),
            Some(_) => "within the runs".to_owned(),
        }
    }
}

impl Comparison {
    pub(crate) fn markdown(&self, baseline: &Record, fail_above: Option<f64>) -> String {
        let of = &baseline.conditions;
        let mut text = format!("### Since the baseline\n\n- baseline: commit {}, on {}\n", of.commit, of.date);
        self.labels.iter().for_each(|label| text += &format!("- {label}\n"));
        let mut table = Table::new([
            Column::text("workload"),
            Column::text("subject"),
            Column::number("before"),
            Column::number("now"),
            Column::number("change"),
            Column::number("99 % of what the runs allow"),
            Column::text("verdict"),
        ]);
        for change in &self.changes {
            let interval = change.interval.map_or("-".to_owned(), |(low, high)| format!("{low:+.1} to {high:+.1} %"));
            table.push([
                change.label.clone(),
                change.subject.clone(),
                change.before.clone(),
                change.now.clone(),
                format!("{:+.1} %", change.percent),
                interval,
                change.verdict(fail_above),
            ]);
        }
        text += &format!("\n{}", table.markdown());
        if !self.apart.is_empty() {
            text += "\n";
        }
        self.apart.iter().for_each(|line| text += &format!("- {line}\n"));
        text
    }

    /// # Errors
    ///
    /// One line that names what is worse by more than so many percent.
    pub(crate) fn judge(&self, fail_above: f64) -> Result<(), String> {
        let above = self.changes.iter().filter(|change| change.is_above(fail_above));
        let named: Vec<_> =
            above.map(|change| format!("{} of {} by {:.1} %", change.label, change.subject, change.percent)).collect();
        if named.is_empty() {
            return Ok(());
        }
        Err(format!("worse than the baseline by more than {fail_above} %: {}", named.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Better;
    use crate::record::tests::{measured, record};

    fn only(old: &Record, new: &Record, subject: &str) -> Change {
        compare(old, new).changes.into_iter().find(|change| change.subject == subject).unwrap()
    }

    #[test]
    fn ratios_are_compared_and_so_a_slower_machine_is_none() {
        let old = record(&[("system", &[10.0, 10.0, 10.0]), ("heaptally", &[20.0, 20.0, 20.0])]);
        let new = record(&[("system", &[20.0, 20.0, 20.0]), ("heaptally", &[50.0, 50.0, 50.0])]);
        let heaptally = only(&old, &new, "heaptally");
        assert_eq!((heaptally.before.as_str(), heaptally.now.as_str()), ("2.00", "2.50"));
        assert_eq!((heaptally.percent, heaptally.interval), (25.0, Some((25.0, 25.0))));
        assert_eq!(heaptally.verdict(None), "worse");
        assert_eq!(heaptally.verdict(Some(24.0)), "**regression**");
        assert_eq!(heaptally.verdict(Some(25.0)), "worse");
        let system = only(&old, &new, "system");
        assert_eq!((system.percent, system.now.as_str()), (100.0, "20.0 ns/pair"));
        // Not heaptally's.
        assert!(!system.is_above(1.0));
        assert_eq!(
            compare(&old, &new).judge(5.0),
            Err("worse than the baseline by more than 5 %: pairs33 of heaptally by 25.0 %".to_owned())
        );
        assert_eq!(compare(&old, &old).judge(0.0), Ok(()));
    }

    #[test]
    fn a_change_within_the_runs_fails_nothing() {
        let old = record(&[("system", &[10.0, 10.0, 10.0]), ("heaptally", &[20.0, 30.0, 40.0])]);
        let new = record(&[("system", &[10.0, 10.0, 10.0]), ("heaptally", &[36.0, 45.0, 60.0])]);
        let change = only(&old, &new, "heaptally");
        assert_eq!((change.percent, change.verdict(Some(5.0)).as_str()), (50.0, "within the runs"));
        assert_eq!(compare(&old, &new).judge(5.0), Ok(()));
    }

    #[test]
    fn of_one_run_nothing_is_said() {
        let old = record(&[("system", &[10.0, 10.0, 10.0]), ("heaptally", &[20.0])]);
        let new = record(&[("system", &[10.0, 10.0, 10.0]), ("heaptally", &[90.0])]);
        assert_eq!(only(&old, &new, "heaptally").verdict(Some(5.0)), "unknown: fewer than 3 runs");
        assert_eq!(compare(&old, &new).judge(5.0), Ok(()));
    }

    #[test]
    fn less_throughput_is_worse() {
        let (mut old, mut new) =
            (record(&[("heaptally", &[900.0, 900.0, 900.0])]), record(&[("heaptally", &[600.0, 600.0, 600.0])]));
        for record in [&mut old, &mut new] {
            measured(&mut record.rows[0]).metric.better = Better::Higher;
        }
        // No System: the values themselves are compared.
        assert_eq!(only(&old, &new, "heaptally").percent.round(), 50.0);
    }

    #[test]
    fn another_machine_and_another_method_are_labelled() {
        let old = record(&[("system", &[10.0])]);
        let mut new = record(&[("system", &[10.0])]);
        assert_eq!(compare(&old, &new).labels, [""; 0]);
        new.conditions.cores = 64;
        new.conditions.rustc = "rustc 2".to_owned();
        new.method.quick = true;
        let text = compare(&old, &new).markdown(&old, None);
        for label in
            ["of another machine**: Cpu 1, 2 cores;", "another compiler: the baseline's is rustc 1", "without --quick"]
        {
            assert!(text.contains(label), "{label} is not in {text}");
        }
    }

    #[test]
    fn what_one_of_them_lacks_is_listed() {
        let old = record(&[("system", &[10.0]), ("dhat", &[70.0]), ("mimalloc", &[7.0])]);
        let mut new = record(&[("system", &[10.0]), ("heaptally", &[20.0]), ("dhat", &[70.0])]);
        new.rows[2].outcome = record::Outcome::Missing { reason: "signal: 6".to_owned(), failed: true };
        let lines = ["`pairs33`, heaptally: not in the baseline", "`pairs33`, dhat: time only in the baseline"];
        assert_eq!(compare(&old, &new).apart, lines);
    }
}
