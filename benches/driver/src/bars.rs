//! The chart of a metric: a bar for each subject, from System's 1 or from 0 to its ratio. Pure.

use crate::metric::{Better, Metric};
use crate::number;
use crate::record::{Measured, Outcome, Record, Role, Row};
use crate::scale::Scale;
use crate::svg::{self, Anchor, Drawing, LETTER_WIDTH};

const TOP: f64 = 56.0;
const ROW: f64 = 20.0;
const BAR: f64 = 12.0;
const AXIS: f64 = 24.0;
const LEGEND: f64 = 26.0;
const PLOT_WIDTH: f64 = 480.0;
/// For the number behind the longest bar.
const NUMBER_WIDTH: f64 = 70.0;
const MARGIN: f64 = 12.0;

/// `None` if System has no number, so that there are no ratios.
pub(crate) fn chart(title: &str, metric: &Metric, rows: &[Row], record: &Record) -> Option<String> {
    let mut shown: Vec<&Row> =
        rows.iter().filter(|row| row.measured().is_none_or(|own| own.metric == *metric)).collect();
    // What has no number stands in the rows of the first metric.
    let order = |row: &&Row| record.subjects.iter().position(|kept| kept.subject == row.subject);
    shown.sort_by_key(order);
    let system = shown.iter().find_map(|row| record.system_of(row))?;
    let ranges = shown.iter().filter_map(|row| row.measured()).map(|own| own.ratio_range(system.median));
    let (low, high) = ranges.fold((1.0_f64, 1.0_f64), |(low, high), range| (low.min(range.0), high.max(range.1)));
    // No process takes no time or for ever.
    if !(low > 0.0 && high.is_finite()) {
        return None;
    }
    let longest = shown.iter().map(|row| row.subject.len()).max().unwrap_or(0);
    let left = MARGIN + longest as f64 * LETTER_WIDTH + 10.0;
    let right = left + PLOT_WIDTH;
    let bottom = TOP + shown.len() as f64 * ROW;
    let scale = Scale::fitting(low.min(1.0), high, (left, right));

    let mut drawing = Drawing::default();
    drawing.text((MARGIN, 22.0), Anchor::Start, "title", title);
    let direction = if metric.better == Better::Higher { ", more is better" } else { "" };
    let axis = if scale.is_logarithmic() { "logarithmic" } else { "linear" };
    let subtitle = format!(
        "times worse than System, which has {}{direction}; medians, least and most; {axis}",
        number::amount(system.median, &metric.unit)
    );
    drawing.text((MARGIN, 41.0), Anchor::Start, "quiet", &subtitle);
    for tick in scale.ticks() {
        let x = scale.at(tick);
        drawing.line((x, TOP), (x, bottom), "grid");
        drawing.text((x, bottom + 15.0), Anchor::Middle, "quiet", &tick.to_string());
    }
    let middle = |place: usize| TOP + (place as f64 + 0.5) * ROW;
    for (place, row) in shown.iter().enumerate() {
        drawing.text((left - 8.0, middle(place) + 4.0), Anchor::End, "", &row.subject);
        if let Some(measured) = row.measured() {
            let role = record.role_of(&row.subject).unwrap_or(Role::Tracker);
            bar(&mut drawing, &scale, measured, system.median, middle(place), svg::class(role));
        }
    }
    // System's. Below the reasons, which are longer than the bars.
    drawing.line((scale.at(1.0), TOP), (scale.at(1.0), bottom), "mark");
    for (place, row) in shown.iter().enumerate() {
        if let Outcome::Missing { reason, .. } = &row.outcome {
            let letters = ((PLOT_WIDTH + NUMBER_WIDTH - 6.0) / LETTER_WIDTH) as usize;
            drawing.text((left + 6.0, middle(place) + 4.0), Anchor::Start, "reason", &shortened(reason, letters));
        }
    }
    drawing.legend((left, bottom + AXIS + LEGEND - 12.0));
    Some(drawing.finish((right + NUMBER_WIDTH + MARGIN, bottom + AXIS + LEGEND)))
}

/// On a logarithmic axis there is no 0: there the bar begins at 1, and one that is better than System goes left.
fn bar(drawing: &mut Drawing, scale: &Scale, measured: &Measured, system: f64, middle: f64, class: &str) {
    let ratio = measured.metric.ratio(measured.median, system);
    let (least, most) = measured.ratio_range(system);
    let (begin, end) = (scale.at(if scale.is_logarithmic() { 1.0 } else { 0.0 }), scale.at(ratio));
    drawing.rect((begin.min(end), middle - BAR / 2.0), ((end - begin).abs().max(1.0), BAR), class);
    let (least, most) = (scale.at(least), scale.at(most));
    drawing.line((least, middle), (most, middle), "whisker");
    for end in [least, most] {
        drawing.line((end, middle - 3.0), (end, middle + 3.0), "whisker");
    }
    let behind = most.max(scale.at(1.0)) + 6.0;
    drawing.text((behind, middle + 4.0), Anchor::Start, "", &number::decimal(ratio));
}

fn shortened(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    #[test]
    fn a_bar_has_its_ratio_its_whiskers_and_its_colour() {
        let record = record(&[("system", &[10.0, 10.0, 10.0]), ("heaptally", &[20.0, 24.0, 30.0])]);
        let metric = &record.rows[0].measured().unwrap().metric;
        let svg = chart("pairs33", metric, &record.rows, &record).unwrap();
        // 3.06 is at the end of 480 pixels, which begin at 12 + 9 * 7.4 + 10; the bar begins at 0.
        assert!(
            svg.contains("<rect x=\"88.6\" y=\"80.0\" width=\"376.5\" height=\"12.0\" class=\"heaptally\"/>"),
            "{svg}"
        );
        assert!(svg.contains("<line x1=\"402.3\" y1=\"86.0\" x2=\"559.2\" y2=\"86.0\" class=\"whisker\"/>"), "{svg}");
        assert!(svg.contains(">2.40</text>") && svg.contains("System, which has 10.0 ns/pair; "), "{svg}");
    }

    #[test]
    fn far_apart_the_axis_is_logarithmic_and_what_has_no_number_has_its_reason() {
        let mut record =
            record(&[("system", &[10.0]), ("mimalloc", &[5.0]), ("dhat", &[9000.0]), ("leaktracer", &[1.0])]);
        record.rows[3].outcome = Outcome::Missing { reason: "took longer than 5 s".to_owned(), failed: false };
        let metric = &record.rows[0].measured().unwrap().metric;
        let svg = chart("pairs33", metric, &record.rows, &record).unwrap();
        for text in ["; logarithmic<", ">100<", ">900.0<", ">0.50<", ">took longer than 5 s<"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }

    #[test]
    fn without_system_there_is_no_chart() {
        let record = record(&[("heaptally", &[24.0])]);
        assert_eq!(chart("pairs33", &record.rows[0].measured().unwrap().metric, &record.rows, &record), None);
    }

    #[test]
    fn a_long_reason_is_shortened() {
        assert_eq!(shortened("signal: 11", 10), "signal: 11");
        assert_eq!(shortened("did not build", 10), "did not b…");
    }
}
