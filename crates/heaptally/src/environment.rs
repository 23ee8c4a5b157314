//! What the variables `HEAPTALLY`, `HEAPTALLY_MODULES` and `HEAPTALLY_MAX_DEPTH` ask for.
//!
//! Read when the program calls [`Config::from_env`], on its thread, and at no other time. Knows nothing of the engine.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::{env, fmt};

use crate::Config;
use crate::module_name::normalize;

const SWITCH: &str = "HEAPTALLY";
const MODULES: &str = "HEAPTALLY_MODULES";
const MAX_DEPTH: &str = "HEAPTALLY_MAX_DEPTH";

impl Config {
    /// What the environment asks for: the configuration to [`start`](crate::start) with, or `None` for not to start.
    ///
    /// | variable | value | meaning |
    /// | --- | --- | --- |
    /// | `HEAPTALLY` | `on` | start |
    /// | | `off`, unset | do not start: no thread, no stack; the allocator keeps totals, as ever before a start |
    /// | | `totals` | the same, for who wants it said |
    /// | `HEAPTALLY_MODULES` | `app,app::db` | as [`Config::modules`], separated by commas |
    /// | `HEAPTALLY_MAX_DEPTH` | `1` to `512` | as [`Config::max_depth`] |
    ///
    /// A variable that is empty is taken for unset. White space around values is ignored, and so is the case of the
    /// three words. Unless `HEAPTALLY` is `on`, the others are not looked at. A program that is to track unless it is told
    /// otherwise asks whether `HEAPTALLY` is set before it asks this.
    ///
    /// # Errors
    ///
    /// When a value is none of these; [`EnvError`] says which and what it may be.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[global_allocator]
    /// # static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(config) = heaptally::Config::from_env()? {
    ///     heaptally::start(config.default_modules(["my_service"]))?;
    /// }
    /// # assert_eq!(heaptally::tally().is_some(), std::env::var_os("HEAPTALLY").is_some_and(|value| value == "on"));
    /// # Ok(()) }
    /// ```
    pub fn from_env() -> Result<Option<Self>, EnvError> {
        asked_for(|variable| env::var_os(variable))
    }
}

/// A variable of the environment has a value that means nothing; see [`Config::from_env`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvError {
    variable: &'static str,
    value: OsString,
    allowed: &'static str,
}

impl EnvError {
    /// The variable's name.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// The value that it has, which may not be text.
    pub fn value(&self) -> &OsStr {
        &self.value
    }
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With `?`, so that whatever the value holds, this is one line of text.
        write!(f, "the variable {} is {:?} and must be {}", self.variable, self.value, self.allowed)
    }
}

impl Error for EnvError {}

/// [`Config::from_env`] of any environment.
fn asked_for(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Config>, EnvError> {
    let read = |name| variable(name).filter(|value| !value.to_string_lossy().trim().is_empty());
    let on = parse(SWITCH, read(SWITCH), "`on`, `totals` or `off`", |value| {
        let words = [("on", true), ("totals", false), ("off", false)];
        words.into_iter().find_map(|(word, on)| value.eq_ignore_ascii_case(word).then_some(on))
    })?;
    if on != Some(true) {
        return Ok(None);
    }
    let mut config = Config::new();
    let paths = "the paths of modules, separated by commas, such as `app,app::db`";
    if let Some(modules) = parse(MODULES, read(MODULES), paths, |value| {
        value.split(',').map(|name| normalize(name).ok()).collect::<Option<Vec<String>>>()
    })? {
        config = config.modules(modules);
    }
    if let Some(frames) = parse(MAX_DEPTH, read(MAX_DEPTH), "a number from 1 to 512", |value| {
        value.parse().ok().filter(|frames| (1..=Config::MAX_DEPTH).contains(frames))
    })? {
        config = config.max_depth(frames);
    }
    Ok(Some(config))
}

/// The meaning of a value, if there is one.
fn parse<T>(
    variable: &'static str,
    value: Option<OsString>,
    allowed: &'static str,
    meaning: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, EnvError> {
    let Some(value) = value else { return Ok(None) };
    match value.to_str().and_then(|text| meaning(text.trim())) {
        Some(meaning) => Ok(Some(meaning)),
        None => Err(EnvError { variable, value, allowed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Config>, EnvError> {
        asked_for(|name| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| value.into()))
    }

    fn config(variables: &[(&str, &str)]) -> Config {
        of(&[&[(SWITCH, "on")], variables].concat()).unwrap().unwrap()
    }

    #[test]
    fn only_on_starts() {
        for on in ["on", "ON", " On\n"] {
            assert!(of(&[(SWITCH, on)]).unwrap().is_some(), "{on}");
        }
        assert!(of(&[]).unwrap().is_none());
        for other in ["off", "OFF", "totals", "Totals", "", "  "] {
            // What else is set is not looked at.
            let variables = [(SWITCH, other), (MODULES, "no module"), (MAX_DEPTH, "deep")];
            assert!(of(&variables).unwrap().is_none(), "{other}");
        }
    }

    #[test]
    fn what_is_unset_or_empty_is_the_default() {
        for variables in [&[][..], &[(MODULES, ""), (MAX_DEPTH, " ")]] {
            let config = config(variables);
            assert_eq!((config.modules.as_slice(), config.max_depth), (&[][..], Config::MAX_DEPTH));
            assert_eq!(config.default_modules(["app"]).modules, ["app"]);
        }
    }

    #[test]
    fn modules_and_depth_are_read_and_go_before_defaults() {
        let config = config(&[(MODULES, "my-app, ::core_of::db ,x"), (MAX_DEPTH, " 64 ")]).default_modules(["app"]);
        assert_eq!(config.modules, ["my_app", "core_of::db", "x"]);
        assert_eq!(config.max_depth, 64);
        assert!(config.check().is_ok());
    }

    #[test]
    fn an_error_names_the_variable_its_value_and_what_is_allowed() {
        let error = |variable: &'static str, value: &str| {
            let error = of(&[(variable, value), (SWITCH, "on")]).unwrap_err();
            assert_eq!((error.variable(), error.value()), (variable, value.as_ref()));
            error.to_string()
        };
        assert_eq!(error(SWITCH, "yes"), "the variable HEAPTALLY is \"yes\" and must be `on`, `totals` or `off`");
        for value in ["app,", ",app", "a b", "app::", "crate"] {
            assert_eq!(
                error(MODULES, value),
                format!(
                    "the variable HEAPTALLY_MODULES is {value:?} and must be the paths of modules, separated by commas, \
                     such as `app,app::db`"
                )
            );
        }
        assert_eq!(Config::MAX_DEPTH, 512);
        for value in ["0", "513", "-1", "64k", "1e2", "99999999999999999999"] {
            let expected = format!("the variable HEAPTALLY_MAX_DEPTH is {value:?} and must be a number from 1 to 512");
            assert_eq!(error(MAX_DEPTH, value), expected);
        }
        // One line, whatever it is.
        assert!(!error(SWITCH, "on\noff\x1b[2J").contains(['\n', '\x1b']));
    }
}
