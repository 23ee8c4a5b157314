//! The printed report of a comparison by time: Markdown, as docs/benchmarks.md has it. Pure.

use crate::losses::losses;
use crate::number;
use crate::record::{self, Measured, Outcome, Record, Role, Row};
use crate::table::{Column, Table};

pub(crate) fn markdown(record: &Record) -> String {
    let method = &record.method;
    let mut text = format!(
        "{}\n- method: medians; processes for each cell: {}, or as many as fit in {} s, in random order{}\n",
        record.conditions,
        method.rounds,
        number::decimal(method.cell_budget_ms as f64 / 1000.0),
        if method.quick { "; --quick: a look, not a result" } else { "" }
    );
    record.notes.iter().for_each(|note| text += &format!("- {note}\n"));
    if let Some(table) = ratios(record) {
        text += "\n### Ratio to System\n\n";
        text +=
            "The medians of `system`, and how many times worse those of the others are. `-`: no number, see below.\n\n";
        text += &table.markdown();
    }
    text += &losses_section(record);
    text += &list("### No number", &gaps(record));
    text += &format!("\n### All numbers\n\n{}", all(record).markdown());
    text + &format!("\n### What each keeps\n\n{}", keeps(record).markdown())
}

/// A row for each subject, and a column for each metric. `None` without System.
fn ratios(record: &Record) -> Option<Table> {
    let mut columns = vec![Column::text("subject")];
    let mut metrics = Vec::new();
    for rows in record.workloads() {
        let own = record::metrics(rows);
        for metric in &own {
            columns.push(Column::number(record::label(&rows[0].workload, metric, own.len())));
            metrics.push((rows, *metric));
        }
    }
    let cell = |subject: &str, place: usize| {
        let (rows, metric) = metrics[place];
        let mut measured = rows.iter().filter(|row| row.subject == subject).filter_map(Row::measured);
        match measured.find(|measured| measured.metric == *metric) {
            Some(measured) if subject == "system" => absolute(measured),
            Some(Measured { ratio_to_system: Some(ratio), .. }) => number::decimal(*ratio),
            _ => "-".to_owned(),
        }
    };
    let mut table = Table::new(columns);
    let subjects: Vec<_> = record.subjects.iter().map(|kept| kept.subject.as_str()).collect();
    if metrics.is_empty() || !subjects.contains(&"system") {
        return None;
    }
    for subject in subjects {
        let cells = (0..metrics.len()).map(|place| cell(subject, place));
        table.push([subject.to_owned()].into_iter().chain(cells).collect::<Vec<_>>());
    }
    Some(table)
}

fn absolute(measured: &Measured) -> String {
    number::amount(measured.median, &measured.metric.unit)
}

fn losses_section(record: &Record) -> String {
    let any = |role| record.subjects.iter().any(|kept| kept.role == role);
    if !any(Role::Heaptally) || !any(Role::Tracker) {
        return String::new();
    }
    let losses = losses(record);
    if losses.is_empty() {
        return "\n### Where heaptally loses\n\nNo tracker that was measured is faster.\n".to_owned();
    }
    let head = "### Where heaptally loses\n\nTo what keeps something as well, if not the same; `~`: the runs overlap, or are fewer than 3.";
    list(head, &losses)
}

/// A line for each cell without numbers.
fn gaps(record: &Record) -> Vec<String> {
    let gap = |row: &Row| match &row.outcome {
        Outcome::Missing { reason, .. } => Some(format!("`{}`, {}: {reason}", row.workload, row.subject)),
        Outcome::Measured(_) => None,
    };
    record.rows.iter().filter_map(gap).collect()
}

/// Nothing of nothing.
fn list(head: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("\n{head}\n\n") + &lines.iter().map(|line| format!("- {line}\n")).collect::<String>()
}

fn all(record: &Record) -> Table {
    let mut table = Table::new([
        Column::text("workload"),
        Column::text("subject"),
        Column::number("median"),
        Column::number("min..max"),
        Column::text("unit"),
        Column::number("runs"),
        Column::number("ratio to system"),
    ]);
    for rows in record.workloads() {
        let of = record::metrics(rows).len();
        for row in rows {
            let Some(measured) = row.measured() else { continue };
            table.push([
                record::label(&row.workload, &measured.metric, of),
                row.subject.clone(),
                number::decimal(measured.median),
                format!("{}..{}", number::decimal(measured.min), number::decimal(measured.max)),
                measured.metric.unit.clone(),
                measured.runs.to_string(),
                measured.ratio_to_system.map_or("-".to_owned(), number::decimal),
            ]);
        }
    }
    table
}

fn keeps(record: &Record) -> Table {
    let mut table = Table::new([Column::text("subject"), Column::text("version"), Column::text("keeps")]);
    for kept in &record.subjects {
        table.push([kept.subject.clone(), kept.version.clone(), kept.keeps.clone()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    #[test]
    fn the_report_has_every_number_once_and_every_reason() {
        let mut record =
            record(&[("system", &[10.0, 12.0, 11.0]), ("heaptally", &[22.0, 22.0, 24.0]), ("dhat", &[1.0])]);
        record.rows[2].outcome = Outcome::Missing { reason: "signal: 6 (SIGABRT)".to_owned(), failed: true };
        let text = markdown(&record);
        for line in [
            "- machine: Cpu 1, 2 cores, Linux 1, glibc 1",
            "- method: medians; processes for each cell: 3, or as many as fit in 30.0 s, in random order",
            "| system    | 11.0 ns/pair |",
            "| heaptally |         2.00 |",
            "| dhat      |            - |",
            "- `pairs33`, dhat: signal: 6 (SIGABRT)",
            "| pairs33  | heaptally |   22.0 | 22.0..24.0 | ns/pair |    3 |            2.00 |",
            "No tracker that was measured is faster.",
        ] {
            assert!(text.lines().any(|own| own == line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn without_system_there_are_numbers_and_no_ratios() {
        let text = markdown(&record(&[("heaptally", &[22.0])]));
        assert!(!text.contains("### Ratio to System"), "{text}");
        assert!(text.contains("|    1 |               - |"), "{text}");
    }
}
