//! Time as the allocator knows it: a number that grows every quarter of a second.

use std::time::Duration;

/// A number of quarters of a second since `start`. Ages and births of blocks are counted in these, since the allocator
/// reads no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TickNumber(u32);

impl TickNumber {
    /// How long a tick lasts. Under load one may be longer, and the next ones shorter.
    pub const LENGTH: Duration = Duration::from_millis(250);

    /// That of everything before `start`.
    pub const ZERO: Self = Self(0);

    /// The last one, 194 days after `start`: time stops there. What is born then is at least as old as its age says.
    pub const LAST: Self = Self((1 << 26) - 1);

    /// The `number`th tick, or the last one.
    pub const fn new(number: u64) -> Self {
        if number < Self::LAST.0 as u64 { Self(number as u32) } else { Self::LAST }
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0 as u64
    }

    /// The time from `earlier` to this one; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Self::LENGTH * self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stops_at_the_last_tick() {
        assert_eq!(TickNumber::new(u64::MAX), TickNumber::LAST);
        assert_eq!(TickNumber::LAST.since(TickNumber::ZERO).as_secs() / 86_400, 194);
        assert_eq!(
            (TickNumber::new(12).since(TickNumber::new(4)), TickNumber::new(4).since(TickNumber::new(12))),
            (Duration::from_secs(2), Duration::ZERO)
        );
    }
}
