//! How often which duration was seen: in memory that is allocated beforehand, to 1.6 %.

/// Sub-divisions of an octave: a duration is known to one part in 64.
const STEPS: u64 = 64;
const OCTAVES: usize = 58;

pub(crate) struct Histogram {
    /// One count for each duration below `STEPS`, then `STEPS` of them for each octave.
    counts: Vec<u64>,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; (OCTAVES + 1) * STEPS as usize] }
    }

    /// Allocates nothing.
    pub(crate) fn add(&mut self, ns: u64) {
        self.counts[slot(ns)] += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
    }

    /// The duration that so large a part of all is not above; 0 when there is none.
    pub(crate) fn quantile(&self, part: f64) -> u64 {
        let all: u64 = self.counts.iter().sum();
        let rank = (all as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= rank {
                return least(slot);
            }
        }
        0
    }
}

fn slot(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    // The highest bit is octave 6 at least, and the six bits below it are the step.
    let octave = ns.ilog2() - STEPS.ilog2();
    ((u64::from(octave) + 1) * STEPS + (ns >> octave) - STEPS) as usize
}

/// The least duration of a slot.
fn least(slot: usize) -> u64 {
    let slot = slot as u64;
    if slot < STEPS { slot } else { (STEPS + slot % STEPS) << (slot / STEPS - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_known_to_one_part_in_64() {
        for ns in [0, 1, 63, 64, 65, 127, 128, 129, 1000, 123_456_789, u64::MAX] {
            let known = least(slot(ns));
            assert!(known <= ns && ns - known <= known / 64, "{ns} is {known}");
        }
        assert_eq!(slot(u64::MAX), Histogram::new().counts.len() - 1);
    }

    #[test]
    fn quantiles_are_by_rank() {
        let mut histogram = Histogram::new();
        (1..=60).for_each(|ns| histogram.add(ns));
        assert_eq!([0.5, 0.99, 1.0].map(|part| histogram.quantile(part)), [30, 60, 60]);
        histogram.clear();
        assert_eq!(histogram.quantile(0.5), 0);
        let mut other = Histogram::new();
        other.add(7);
        histogram.merge(&other);
        assert_eq!(histogram.quantile(0.5), 7);
    }
}
