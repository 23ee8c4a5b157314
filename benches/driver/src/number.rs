//! Numbers as people read them: three digits or more, and commas between thousands.

/// One decimal below a thousand, two below ten, none above.
pub(crate) fn decimal(value: f64) -> String {
    match value {
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 1000.0 => format!("{value:.1}"),
        _ => whole(value.round() as u64),
    }
}

/// A number with its unit; from ten thousand nanoseconds in a larger one.
pub(crate) fn amount(value: f64, unit: &str) -> String {
    match unit.strip_prefix("ns/") {
        Some(operation) if value >= 1e6 => format!("{} ms/{operation}", decimal(value / 1e6)),
        Some(operation) if value >= 1e4 => format!("{} us/{operation}", decimal(value / 1e3)),
        _ => format!("{} {unit}", decimal(value)),
    }
}

pub(crate) fn whole(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(whole), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn many_nanoseconds_are_told_in_larger_units() {
        let amounts = [(9_876.0, "ns/pair"), (36_520.0, "ns/file"), (7.9e6, "ns/parse"), (1.2e7, "requests/s")];
        let expected = ["9,876 ns/pair", "36.5 us/file", "7.90 ms/parse", "12,000,000 requests/s"];
        assert_eq!(amounts.map(|(value, unit)| amount(value, unit)), expected);
    }

    #[test]
    fn decimals_get_fewer_with_size() {
        assert_eq!([1.045, 14.94, 432.1, 27_654.4].map(decimal), ["1.04", "14.9", "432.1", "27,654"]);
    }
}
