//! What a module may be called, and why modules were refused. Used on the thread that configures; knows nothing of
//! stacks.

use std::error::Error;
use std::fmt;

/// Why modules were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModuleError {
    /// The name is empty.
    Empty,
    /// The name is not a crate or a path such as `app::db`.
    #[non_exhaustive]
    Malformed {
        /// The name as it was given.
        name: String,
    },
    /// There is no aggregator to tell of the modules: its thread could not be created, in a forked child, or has
    /// failed.
    NoAggregator,
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(
                "a module name is empty; name a crate such as `app`, a module such as `app::db`, or no module at all",
            ),
            Self::Malformed { name } => write!(
                f,
                "`{name}` is not the path of a module; write the crate's name and modules separated by `::`, \
                 such as `app` or `app::db`"
            ),
            Self::NoAggregator => f.write_str(
                "the modules are what they were: the aggregator's thread could not be created or has failed; look at \
                 the limit of threads",
            ),
        }
    }
}

impl Error for ModuleError {}

/// Reads `my-app::r#mod` or `::my_app::mod` as `my_app::mod`.
pub(crate) fn normalize(name: &str) -> Result<String, ModuleError> {
    let path = name.trim();
    if path.is_empty() {
        return Err(ModuleError::Empty);
    }
    let path = path.strip_prefix("::").unwrap_or(path);
    let segments: Vec<String> =
        path.split("::").map(|segment| segment.strip_prefix("r#").unwrap_or(segment).replace('-', "_")).collect();
    // The keywords name no crate, so that they would silently match nothing.
    let keyword = ["_", "crate", "self", "super", "Self"].contains(&segments[0].as_str());
    if keyword || !segments.iter().all(|segment| is_identifier(segment)) {
        return Err(ModuleError::Malformed { name: name.into() });
    }
    Ok(segments.join("::"))
}

/// Whether a segment is a plain Rust name.
pub(crate) fn is_identifier(segment: &str) -> bool {
    !segment.starts_with(|c: char| c.is_numeric())
        && !segment.is_empty()
        && segment.chars().all(|c| c == '_' || c.is_alphanumeric())
}
