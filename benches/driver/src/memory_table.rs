//! The tables of `memory`: text in columns that is Markdown as well. Pure.

use crate::cell::Cell;
use crate::loads::{Judged, RATIO_GOAL};
use crate::memory::{Comparison, Row};
use crate::number;
use crate::subject::Pair;
use crate::table::{Column, Table};

/// Above this ratio to the inner allocator with room for a tag, it is no rounding.
const TAG_TOLERANCE: f64 = 1.01;

/// A table for each way of judging, what is above its goal, and what has no number.
pub(crate) fn text(pairs: &[Pair], rows: &[Row]) -> String {
    let mut text = String::new();
    for (judged, cells) in [
        (Judged::Ratio, "Alone → heaptally (ratio; the goal is 1.04), each page written:"),
        (Judged::Tag, "Alone / alone, asked for 8 bytes more → heaptally (the goal is no more than that):"),
        (Judged::Bytes, "Alone → heaptally (bytes more):"),
    ] {
        let rows: Vec<_> = rows.iter().filter(|row| row.load.judged == judged).collect();
        text += &format!("{cells}\n\n{}\n", table(pairs, &rows).markdown());
    }
    for row in rows {
        for (pair, comparison) in pairs.iter().zip(&row.comparisons) {
            if let Some(above) = above_goal(row.load.judged, comparison) {
                text += &format!("above the goal: {}, {}: {above}\n", row.load.name, pair.alone.name);
            }
        }
    }
    text + &failures(pairs, rows)
}

fn table(pairs: &[Pair], rows: &[&Row]) -> Table {
    let names = pairs.iter().map(|pair| Column::number(pair.alone.name));
    let columns = [Column::text("block"), Column::number("blocks")].into_iter().chain(names);
    let mut table = Table::new(columns.chain([Column::number("spread")]).collect::<Vec<_>>());
    for row in rows {
        let cells = row.comparisons.iter().map(|comparison| cell(row.load.judged, comparison));
        let first = [row.load.name.to_owned(), number::whole(row.blocks as u64)];
        table.push(first.into_iter().chain(cells).chain([spread(row)]).collect::<Vec<_>>());
    }
    table
}

fn median(cell: &Cell) -> Option<f64> {
    cell.summary().map(|summary| summary.median)
}

fn bytes(cell: &Cell) -> String {
    median(cell).map_or("-".to_owned(), number::decimal)
}

fn cell(judged: Judged, comparison: &Comparison) -> String {
    let Comparison { alone, with_tag, tracked } = comparison;
    let with_tag = with_tag.as_ref().map_or(String::new(), |cell| format!(" / {}", bytes(cell)));
    let text = format!("{}{with_tag} → {}", bytes(alone), bytes(tracked));
    match (judged, median(alone), median(tracked)) {
        (Judged::Ratio, Some(alone), Some(tracked)) => format!("{text} ({:.3})", tracked / alone),
        (Judged::Bytes, Some(alone), Some(tracked)) => format!("{text} ({:+.0})", tracked - alone),
        _ => text,
    }
}

/// By how much, if it is.
fn above_goal(judged: Judged, comparison: &Comparison) -> Option<String> {
    let tracked = median(&comparison.tracked)?;
    match judged {
        Judged::Ratio => {
            let ratio = tracked / median(&comparison.alone)?;
            (ratio > RATIO_GOAL).then(|| format!("{ratio:.3} times, not {RATIO_GOAL}"))
        }
        Judged::Tag => {
            let with_tag = median(comparison.with_tag.as_ref()?)?;
            (tracked > with_tag * TAG_TOLERANCE)
                .then(|| format!("{} bytes, not {}", number::decimal(tracked), number::decimal(with_tag)))
        }
        Judged::Bytes => None,
    }
}

/// The largest distance of two processes of one cell, as a part of the cell's median.
fn spread(row: &Row) -> String {
    let summaries = row.comparisons.iter().flat_map(Comparison::cells).filter_map(Cell::summary);
    let spreads = summaries.map(|summary| (summary.max - summary.min) / summary.median.max(1.0));
    format!("{:.1} %", 100.0 * spreads.fold(0.0, f64::max))
}

/// A line for each reason of a subject.
fn failures(pairs: &[Pair], rows: &[Row]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for comparison in rows.iter().flat_map(|row| pairs.iter().zip(&row.comparisons)) {
        let (pair, Comparison { alone, with_tag, tracked }) = comparison;
        for (subject, cell) in
            [(&pair.alone, Some(alone)), (&pair.alone, with_tag.as_ref()), (&pair.tracked, Some(tracked))]
        {
            if let Some(why) = cell.and_then(Cell::failure) {
                lines.push(format!("{}: {why}\n", subject.name));
            }
        }
    }
    let mut seen = Vec::new();
    lines.retain(|line| {
        !seen.contains(line) && {
            seen.push(line.clone());
            true
        }
    });
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loads::LOADS;
    use crate::sample::Sample;
    use crate::subject::Subject;

    fn of(values: &[f64]) -> Cell {
        let mut cell = Cell::default();
        for &value in values {
            cell.add(Ok(Sample::of("bytes/block", value, "a")));
        }
        cell
    }

    fn compared(alone: f64, with_tag: Option<f64>, tracked: f64) -> Comparison {
        let with_tag = with_tag.map(|value| of(&[value]));
        Comparison { alone: of(&[alone]), with_tag, tracked: of(&[tracked]) }
    }

    #[test]
    fn cells_say_what_they_are_judged_by() {
        assert_eq!(cell(Judged::Ratio, &compared(4096.0, None, 5120.0)), "4,096 → 5,120 (1.250)");
        assert_eq!(cell(Judged::Tag, &compared(16.0, Some(32.04), 32.11)), "16.0 / 32.0 → 32.1");
        assert_eq!(cell(Judged::Bytes, &compared(4096.0, None, 8192.0)), "4,096 → 8,192 (+4096)");
    }

    #[test]
    fn what_is_above_its_goal_is_told() {
        let above = |judged, comparison| above_goal(judged, &comparison);
        assert_eq!(above(Judged::Ratio, compared(100.0, None, 104.0)), None);
        assert_eq!(above(Judged::Ratio, compared(100.0, None, 105.0)), Some("1.050 times, not 1.04".to_owned()));
        assert_eq!(above(Judged::Tag, compared(16.0, Some(32.0), 32.3)), None);
        assert_eq!(above(Judged::Tag, compared(16.0, Some(32.0), 33.0)), Some("33.0 bytes, not 32.0".to_owned()));
        assert_eq!(above(Judged::Bytes, compared(1.0, None, 9.0)), None);
    }

    #[test]
    fn the_spread_is_the_largest_of_the_row() {
        let comparison = Comparison { alone: of(&[100.0, 101.0, 100.0]), with_tag: None, tracked: of(&[200.0, 200.0]) };
        let row = Row { load: &LOADS[0], blocks: 1, comparisons: vec![comparison] };
        assert_eq!(spread(&row), "1.0 %");
    }

    #[test]
    fn a_subject_without_a_number_is_named_once() {
        let pair = Pair { alone: Subject::named("x"), tracked: Subject::named("heaptally_x") };
        let row = |load| {
            let tracked = Cell::failed("did not build: error: no such crate".to_owned());
            Row { load, blocks: 2000, comparisons: vec![Comparison { alone: of(&[300.0]), with_tag: None, tracked }] }
        };
        let text = text(&[pair], &[row(&LOADS[0]), row(&LOADS[1])]);
        assert!(text.contains("| 256 B |  2,000 | 300.0 → - |  0.0 % |\n"), "{text}");
        assert_eq!(text.matches("heaptally_x: did not build: error: no such crate\n").count(), 1, "{text}");
    }
}
