//! The door for the fuzzers of tests/fuzz: only with `--cfg heaptally_fuzz`, which nobody else has a reason to set.

/// See `engine/name_properties.rs`.
///
/// # Panics
///
/// When a name is read as it must not be.
pub fn names(data: &[u8]) {
    crate::engine::name_properties::check(data);
}
