//! The chart of a workload whose metrics are the same at several counts of threads: a line for each subject. Pure.

use crate::metric::Metric;
use crate::number;
use crate::record::{Measured, Record, Role, Row};
use crate::scale::Scale;
use crate::svg::{self, Anchor, Drawing, LETTER_WIDTH};

const TOP: f64 = 56.0;
const LEFT: f64 = 64.0;
const PLOT_WIDTH: f64 = 420.0;
const LEAST_PLOT_HEIGHT: f64 = 300.0;
/// From one name to the next.
const NAME: f64 = 15.0;
/// From the last point to the names.
const LEADER: f64 = 34.0;
const FOOT: f64 = 66.0;
const MARGIN: f64 = 12.0;

/// The counts that the metrics are named by, in their order. `None` if they are named by something else.
pub(crate) fn counts(metrics: &[&Metric]) -> Option<Vec<u32>> {
    let same = metrics.windows(2).all(|pair| (&pair[0].unit, pair[0].better) == (&pair[1].unit, pair[1].better));
    let counts: Option<Vec<u32>> =
        metrics.iter().map(|metric| metric.name.parse().ok().filter(|count| *count > 0)).collect();
    counts.filter(|counts| same && !counts.is_empty())
}

/// What a subject has at each count.
struct Line<'a> {
    subject: &'a str,
    points: Vec<(u32, &'a Measured)>,
}

/// `None` if nothing has a number.
pub(crate) fn chart(title: &str, rows: &[Row], record: &Record) -> Option<String> {
    let lines = lines(rows);
    let points = || lines.iter().flat_map(|line| &line.points);
    let least = points().map(|(_, measured)| measured.min).reduce(f64::min).filter(|least| *least > 0.0)?;
    let most = points().map(|(_, measured)| measured.max).reduce(f64::max)?;
    let counts: Vec<u32> = points().map(|(count, _)| *count).collect();
    let (fewest, largest) = (*counts.iter().min()?, *counts.iter().max()?);
    let height = LEAST_PLOT_HEIGHT.max((lines.len() + 1) as f64 * NAME);
    let (right, bottom) = (LEFT + PLOT_WIDTH, TOP + height);
    let x = Scale::logarithmic(f64::from(fewest), f64::from(largest), (LEFT, right));
    let y = Scale::fitting(least, most, (bottom, TOP));

    let mut drawing = Drawing::default();
    drawing.text((MARGIN, 22.0), Anchor::Start, "title", title);
    let unit = &points().next()?.1.metric.unit;
    let axis = if y.is_logarithmic() { "logarithmic" } else { "linear" };
    let subtitle =
        format!("{unit} on each of so many threads at once: level is perfect; medians, least and most; {axis}");
    drawing.text((MARGIN, 41.0), Anchor::Start, "quiet", &subtitle);
    for tick in y.ticks() {
        drawing.line((LEFT, y.at(tick)), (right, y.at(tick)), "grid");
        drawing.text((LEFT - 6.0, y.at(tick) + 4.0), Anchor::End, "quiet", &tick.to_string());
    }
    let mut ticks = counts.clone();
    ticks.sort_unstable();
    ticks.dedup();
    for count in ticks {
        let at = x.at(f64::from(count));
        drawing.line((at, TOP), (at, bottom), "grid");
        drawing.text((at, bottom + 16.0), Anchor::Middle, "quiet", &count.to_string());
    }
    drawing.text((LEFT + PLOT_WIDTH / 2.0, bottom + 33.0), Anchor::Middle, "quiet", "threads");

    let ends: Vec<f64> =
        lines.iter().map(|line| line.points.last().map_or(bottom, |(_, last)| y.at(last.median))).collect();
    let names = spread(&ends, NAME, (TOP + NAME / 2.0, bottom - NAME / 2.0));
    let mut widest = 0;
    for ((line, end), name) in lines.iter().zip(&ends).zip(&names) {
        let class = svg::class(record.role_of(line.subject).unwrap_or(Role::Tracker));
        let places: Vec<_> =
            line.points.iter().map(|(count, own)| (x.at(f64::from(*count)), y.at(own.median))).collect();
        drawing.curve(&places, class);
        for ((_, own), place) in line.points.iter().zip(&places) {
            drawing.line((place.0, y.at(own.min)), (place.0, y.at(own.max)), "whisker");
            drawing.dot(*place, class);
        }
        let Some((last, (_, own))) = places.last().zip(line.points.last()) else { continue };
        drawing.line((last.0 + 4.0, *end), (right + LEADER - 4.0, *name), "leader");
        let text = format!("{} {}", line.subject, number::decimal(own.median));
        widest = widest.max(text.len());
        drawing.text((right + LEADER, name + 4.0), Anchor::Start, "", &text);
    }
    drawing.legend((LEFT, bottom + FOOT - 12.0));
    let width = right + LEADER + widest as f64 * LETTER_WIDTH + MARGIN;
    Some(drawing.finish((width, bottom + FOOT)))
}

fn lines(rows: &[Row]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for row in rows {
        let Some(measured) = row.measured() else { continue };
        let Ok(count) = measured.metric.name.parse() else { continue };
        match lines.iter_mut().find(|line| line.subject == row.subject) {
            Some(line) => line.points.push((count, measured)),
            None => lines.push(Line { subject: &row.subject, points: vec![(count, measured)] }),
        }
    }
    lines.iter_mut().for_each(|line| line.points.sort_by_key(|(count, _)| *count));
    lines
}

/// Places at least a gap apart, near those given, between two limits if they fit.
fn spread(wanted: &[f64], gap: f64, (first, last): (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut places = wanted.to_vec();
    let mut free = first;
    for &at in &order {
        places[at] = wanted[at].max(free);
        free = places[at] + gap;
    }
    // What went beyond the end pushes the others back.
    let mut free = last;
    for &at in order.iter().rev() {
        places[at] = places[at].min(free);
        free = places[at] - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Better;
    use crate::record::tests::{measured, record};

    #[test]
    fn names_keep_their_distance_and_their_order() {
        assert_eq!(spread(&[50.0, 10.0, 52.0], 15.0, (0.0, 100.0)), [50.0, 10.0, 65.0]);
        assert_eq!(spread(&[98.0, 99.0, 97.0], 15.0, (0.0, 100.0)), [85.0, 100.0, 70.0]);
        assert_eq!(spread(&[-5.0], 15.0, (0.0, 100.0)), [0.0]);
    }

    #[test]
    fn metrics_named_by_counts_are_a_curve() {
        let metric =
            |name: &str, unit: &str| Metric { name: name.to_owned(), unit: unit.to_owned(), better: Better::Lower };
        let (one, two, p99, us) = (metric("1", "ns"), metric("2", "ns"), metric("p99", "ns"), metric("2", "us"));
        assert_eq!(counts(&[&one, &two]), Some(vec![1, 2]));
        assert_eq!(counts(&[&one, &p99]), None);
        assert_eq!(counts(&[&one, &us]), None);
        assert_eq!(counts(&[]), None);
    }

    #[test]
    fn a_subject_is_a_line_with_its_last_number() {
        let mut record =
            record(&[("system", &[10.0]), ("heaptally", &[24.0]), ("system", &[11.0]), ("heaptally", &[30.0])]);
        for (row, count) in record.rows.iter_mut().zip(["1", "1", "2", "2"]) {
            measured(row).metric.name = count.to_owned();
        }
        let svg = chart("threads", &record.rows, &record).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains(">heaptally 30.0</text>") && svg.contains(">system 11.0</text>"), "{svg}");
    }
}
