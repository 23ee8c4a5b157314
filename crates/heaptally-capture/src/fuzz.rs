//! The door for the fuzzers of tests/fuzz: only with `--cfg heaptally_fuzz`, which nobody else has a reason to set.

/// See `unwind/cfi_oracle.rs`.
///
/// # Panics
///
/// When the rule compiler reads what gimli does not.
pub fn unwind_tables(data: &[u8]) {
    crate::unwind::check_table(data);
}
