//! Numbers as a person reads them: bytes with binary units, counts with thousands separators.
//!
//! Integer arithmetic only, so that the same number is the same text everywhere.

use std::fmt;
use std::time::Duration;

const BYTE_UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes in binary units, one decimal: `17 B`, `1.5 KiB`.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let tenths_in = |exponent: usize| {
            let unit = 1_u128 << (10 * exponent);
            (u128::from(self.0) * 10 + unit / 2) / unit
        };
        // The first unit in which the rounded number stays under 1024, so that 1,048,575 is "1.0
        // MiB".
        let exponent = (1..BYTE_UNITS.len()).find(|&exponent| tenths_in(exponent) < 10_240).unwrap_or(BYTE_UNITS.len());
        let tenths = tenths_in(exponent);
        write!(f, "{}.{} {}", tenths / 10, tenths % 10, BYTE_UNITS[exponent - 1])
    }
}

/// Bytes that may be negative: `1.5 KiB`, `-17 B`.
pub(crate) struct SignedBytes(pub(crate) i64);

impl fmt::Display for SignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", minus(self.0), Bytes(self.0.unsigned_abs()))
    }
}

/// A change of bytes with its sign: `+1.5 KiB`, `-17 B`, `0 B`.
pub(crate) struct BytesChange(pub(crate) i64);

impl fmt::Display for BytesChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", plus(self.0), SignedBytes(self.0))
    }
}

/// A number with thousands separators: `1,234,567`.
pub(crate) struct Grouped(pub(crate) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A number that may be negative, with thousands separators: `1,234`, `-5`.
pub(crate) struct SignedGrouped(pub(crate) i64);

impl fmt::Display for SignedGrouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", minus(self.0), Grouped(self.0.unsigned_abs()))
    }
}

/// A change of a number with its sign: `+1,234`, `-5`, `0`.
pub(crate) struct GroupedChange(pub(crate) i64);

impl fmt::Display for GroupedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", plus(self.0), SignedGrouped(self.0))
    }
}

fn plus(number: i64) -> &'static str {
    if number > 0 { "+" } else { "" }
}

fn minus(number: i64) -> &'static str {
    if number < 0 { "-" } else { "" }
}

/// A part of a whole in percent, one decimal: `61.2%`; `<0.1%` for what would round to nothing, no
/// text for nothing, and `-` where there is no whole to have parts.
pub(crate) struct Percent {
    pub(crate) part: i64,
    pub(crate) whole: i64,
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.part == 0 {
            return Ok(());
        }
        if self.whole <= 0 {
            return f.write_str("-");
        }
        let (part, whole) = (u128::from(self.part.unsigned_abs()), u128::from(self.whole.unsigned_abs()));
        match (part * 1000 + whole / 2) / whole {
            0 => f.write_str("<0.1%"),
            tenths => write!(f, "{}{}.{}%", minus(self.part), tenths / 10, tenths % 10),
        }
    }
}

/// A number and its noun: `1 block`, `2 blocks`.
pub(crate) struct Plural<'a>(pub(crate) u64, pub(crate) &'a str);

impl fmt::Display for Plural<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{ending}", Grouped(self.0), self.1)
    }
}

/// A number that may be negative and its noun: `-1 block`, `2 blocks`.
pub(crate) struct SignedPlural(pub(crate) i64, pub(crate) &'static str);

impl fmt::Display for SignedPlural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", minus(self.0), Plural(self.0.unsigned_abs(), self.1))
    }
}

/// A duration in seconds, one decimal: `2.5 s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.as_millis() + 50) / 100;
        write!(f, "{}.{} s", tenths / 10, tenths % 10)
    }
}

/// A duration in the unit that suits it, one decimal: `2.5 s`, `15.0 min`, `3.5 h`, `2.1 d`. Rounded down, so that
/// what is older than it is older than what is shown.
pub(crate) struct Age(pub(crate) Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit_ms, unit) = match self.0.as_secs() {
            0..120 => (1000, "s"),
            120..7200 => (60_000, "min"),
            7200..172_800 => (3_600_000, "h"),
            _ => (86_400_000, "d"),
        };
        let tenths = self.0.as_millis() * 10 / unit_ms;
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_the_unit_in_which_they_stay_under_1024() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_523, "1023.9 KiB"),
            (1_048_525, "1.0 MiB"),
            (1_048_576, "1.0 MiB"),
            (5_242_880_000, "4.9 GiB"),
            (1 << 40, "1.0 TiB"),
            (1 << 50, "1.0 PiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text, "{bytes}");
        }
    }

    #[test]
    fn changes_show_their_sign() {
        assert_eq!(BytesChange(2048).to_string(), "+2.0 KiB");
        assert_eq!(BytesChange(-5).to_string(), "-5 B");
        assert_eq!(BytesChange(0).to_string(), "0 B");
        assert_eq!(GroupedChange(1234).to_string(), "+1,234");
        assert_eq!(GroupedChange(-5).to_string(), "-5");
        assert_eq!(GroupedChange(0).to_string(), "0");
        assert_eq!(GroupedChange(i64::MIN).to_string(), "-9,223,372,036,854,775,808");
    }

    #[test]
    fn numbers_that_are_no_changes_show_a_minus_only() {
        assert_eq!((SignedBytes(2048).to_string(), SignedBytes(-5).to_string()), ("2.0 KiB".into(), "-5 B".into()));
        assert_eq!((SignedGrouped(1234).to_string(), SignedGrouped(-5).to_string()), ("1,234".into(), "-5".into()));
    }

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(Grouped(number).to_string(), text);
        }
    }

    #[test]
    fn percents_are_rounded_to_a_tenth_but_never_to_nothing() {
        for (part, whole, text) in [
            (1, 3, "33.3%"),
            (2, 3, "66.7%"),
            (3, 3, "100.0%"),
            (1, 2000, "0.1%"),
            (1, 2001, "<0.1%"),
            (0, 3, ""),
            (-1, 3, "-33.3%"),
            (-1, 100_000, "<0.1%"),
            (0, 0, ""),
            (5, 0, "-"),
            (5, -5, "-"),
            (i64::MAX, i64::MAX, "100.0%"),
        ] {
            assert_eq!(Percent { part, whole }.to_string(), text, "{part} of {whole}");
        }
    }

    #[test]
    fn nouns_agree_with_their_number() {
        assert_eq!(Plural(1, "block").to_string(), "1 block");
        assert_eq!(Plural(0, "block").to_string(), "0 blocks");
        assert_eq!(SignedPlural(-1, "block").to_string(), "-1 block");
        assert_eq!(SignedPlural(2, "block").to_string(), "2 blocks");
        assert_eq!(Plural(1500, "block").to_string(), "1,500 blocks");
    }

    #[test]
    fn durations_are_rounded_to_tenths_of_a_second() {
        assert_eq!(Seconds(Duration::from_millis(2_449)).to_string(), "2.4 s");
        assert_eq!(Seconds(Duration::from_millis(2_450)).to_string(), "2.5 s");
        assert_eq!(Seconds(Duration::ZERO).to_string(), "0.0 s");
    }

    #[test]
    fn an_age_takes_a_unit_that_suits_it_and_is_never_rounded_up() {
        for (ms, text) in [
            (0, "0.0 s"),
            (8_999, "8.9 s"),
            (119_999, "119.9 s"),
            (120_000, "2.0 min"),
            (7_199_999, "119.9 min"),
            (7_200_000, "2.0 h"),
            (172_799_999, "47.9 h"),
            (172_800_000, "2.0 d"),
            (604_800_000, "7.0 d"),
        ] {
            assert_eq!(Age(Duration::from_millis(ms)).to_string(), text, "{ms}");
        }
    }
}
