//! The parameters of a request, each taken once, so that those nobody asked for are told.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What is left of a query.
pub(super) struct Query<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Query<'a> {
    /// Of the part of a URL behind its `?`. Names and numbers are all there is, so nothing is percent-decoded.
    pub(super) fn parse(text: &'a str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self { pairs: pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect() }
    }

    /// The value of a parameter, the last one if there are several.
    pub(super) fn text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.pairs.iter().rev().find(|(found, _)| *found == name).map(|(_, value)| *value);
        self.pairs.retain(|(found, _)| *found != name);
        value
    }

    /// A number within `range`.
    ///
    /// # Errors
    ///
    /// A sentence, if it is something else.
    pub(super) fn number<N>(&mut self, name: &str, range: RangeInclusive<N>) -> Result<Option<N>, String>
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(format!("`{name}` must be a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// That nothing is left.
    ///
    /// # Errors
    ///
    /// A sentence that names the first parameter that is.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("there is no parameter `{}` here", name.escape_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_taken_once() {
        let mut query = Query::parse("seconds=5&debug=0&seconds=7");
        assert_eq!(query.number("seconds", 1..=3600), Ok(Some(7)));
        assert_eq!(query.number("seconds", 1..=3600), Ok(None));
        assert_eq!(query.finish(), Err("there is no parameter `debug` here".to_owned()));
        assert_eq!(Query::parse("").finish(), Ok(()));
    }

    #[test]
    fn what_is_no_number_in_the_range_is_told() {
        for text in ["0", "3601", "-1", "x", "", "1.5", "99999999999999999999"] {
            let query = format!("seconds={text}");
            let expected = Err("`seconds` must be a whole number from 1 to 3600".to_owned());
            assert_eq!(Query::parse(&query).number("seconds", 1..=3600_u32), expected, "{text}");
        }
    }
}
