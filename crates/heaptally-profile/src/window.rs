//! A stretch of time up to now, in eight parts: what a row must grow in throughout to be a suspect.
//!
//! A pure function of the points of a history, for any thread. It knows times and points, not what is judged by them.

use std::time::Duration;

use crate::point::{Point, SitePoint};

/// Parts of a window, of equal length.
pub(crate) const PARTS: usize = 8;

/// The least points of a window: one for each part.
pub(crate) const LEAST_POINTS: usize = PARTS;

/// The least length of a window.
pub(crate) const LEAST_LENGTH: Duration = Duration::from_secs(8);

/// How many times as long as the next one a window is.
const SHORTENING: u32 = 4;

/// The last `length` of a history.
pub(crate) struct Window {
    pub(crate) length: Duration,
    /// The index of its first point among those of the history.
    pub(crate) first: usize,
    /// The part of each of its points: grows from 0 to the last one, and leaves none out.
    parts: Vec<usize>,
}

impl Window {
    /// The whole of a history up to `now`, its last quarter, sixteenth and so on, as far as there are points in each
    /// part. `points` are the oldest first, and none later than `now`.
    pub(crate) fn all(points: &[&Point], now: Duration) -> Vec<Self> {
        let Some(whole) = points.first().map(|first| now.saturating_sub(first.elapsed())) else { return Vec::new() };
        let lengths = std::iter::successors(Some(whole), |&length| Some(length / SHORTENING));
        lengths
            .take_while(|&length| length >= LEAST_LENGTH)
            .filter_map(|length| Self::new(points, now, length))
            .collect()
    }

    fn new(points: &[&Point], now: Duration, length: Duration) -> Option<Self> {
        let begin = now.saturating_sub(length);
        let first = points.partition_point(|point| point.elapsed() < begin);
        let part = |point: &&Point| {
            let part = (point.elapsed() - begin).as_nanos() * PARTS as u128 / length.as_nanos();
            (part as usize).min(PARTS - 1)
        };
        let parts: Vec<usize> = points[first..].iter().map(part).collect();
        let has_gap = parts.windows(2).any(|two| two[1] > two[0] + 1);
        let is_whole = parts.first() == Some(&0) && parts.last() == Some(&(PARTS - 1)) && !has_gap;
        is_whole.then_some(Self { length, first, parts })
    }

    /// The least that a site held in each part. `None` when some point of the window does not know it. `series` is the
    /// site at each point of the history.
    pub(crate) fn floors(&self, series: &[Option<SitePoint>]) -> Option<[u64; PARTS]> {
        let mut floors = [u64::MAX; PARTS];
        for (&part, site) in self.parts.iter().zip(&series[self.first..]) {
            floors[part] = floors[part].min((*site)?.floor_bytes);
        }
        Some(floors)
    }
}

#[cfg(test)]
mod tests {
    use crate::counts::Counts;
    use crate::stack::NodeId;
    use crate::tick_number::TickNumber;

    use super::*;

    fn points(seconds: impl IntoIterator<Item = u64>) -> Vec<Point> {
        let point = |second| Point::new(TickNumber::new(4 * second), Duration::from_secs(second), Counts::ZERO, []);
        seconds.into_iter().map(point).collect()
    }

    /// Length in seconds, the index of the first point, and the points of each part.
    fn windows(points: &[Point], now_ms: u64) -> Vec<(f64, usize, Vec<usize>)> {
        let points: Vec<&Point> = points.iter().collect();
        let shape = |window: Window| {
            let in_part = |part| window.parts.iter().filter(|&&own| own == part).count();
            (window.length.as_secs_f64(), window.first, (0..PARTS).map(in_part).collect())
        };
        Window::all(&points, Duration::from_millis(now_ms)).into_iter().map(shape).collect()
    }

    #[test]
    fn the_windows_are_the_whole_and_quarters_of_it_down_to_eight_seconds() {
        assert_eq!(
            windows(&points(0..=128), 128_000),
            [
                (128.0, 0, vec![16, 16, 16, 16, 16, 16, 16, 17]),
                (32.0, 96, vec![4, 4, 4, 4, 4, 4, 4, 5]),
                (8.0, 120, vec![1, 1, 1, 1, 1, 1, 1, 2]),
            ]
        );
        assert_eq!(windows(&points(0..=8), 8_400), [(8.4, 0, vec![2, 1, 1, 1, 1, 1, 1, 1])]);
    }

    #[test]
    fn a_window_needs_eight_seconds_and_a_point_in_each_part() {
        assert!(windows(&points(0..=7), 7_900).is_empty());
        assert_eq!(windows(&points([0, 1, 2, 3, 4, 5, 6, 7]), 8_000).len(), 1);
        assert!(windows(&points([0, 1, 2, 3, 5, 6, 7, 8]), 8_000).is_empty());
        assert!(windows(&points([]), 8_000).is_empty());
    }

    #[test]
    fn the_floor_of_a_part_is_the_least_of_its_points_if_all_know_the_site() {
        let points = points(0..=16);
        let points: Vec<&Point> = points.iter().collect();
        let window = &Window::all(&points, Duration::from_secs(16))[0];
        let held = |bytes| Some(SitePoint::new(NodeId(1), Counts { allocated_bytes: bytes, ..Counts::ZERO }));
        let mut series: Vec<Option<SitePoint>> = [9, 7].into_iter().cycle().take(17).map(held).collect();
        series[16] = held(5);
        assert_eq!(window.floors(&series), Some([7, 7, 7, 7, 7, 7, 7, 5]));
        series[4] = None;
        assert_eq!(window.floors(&series), None);
    }
}
