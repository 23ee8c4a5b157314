//! How good the program's symbols are, and which profile key makes them better.
//!
//! Counted by the symbolizer over the addresses of the program's own executable; judged here.

/// What was found at the addresses of the program's own executable that were looked up so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SymbolQuality {
    /// Addresses looked up.
    pub addresses: u64,
    /// Addresses with function and line.
    pub with_lines: u64,
    /// Addresses with a function but no line.
    pub names_only: u64,
    /// Addresses whose debug information names functions without their module path.
    pub bare_names: u64,
    /// Addresses without any name.
    pub nameless: u64,
    /// Whether functions inlined by the optimizer were seen under their own names.
    pub inlined_frames: bool,
}

/// What the symbols of the program allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SymbolVerdict {
    /// Functions, lines and inlined functions.
    Full,
    /// Functions only: no lines, no inlined functions (`debug = 0`).
    FunctionsOnly,
    /// Lines, but inlined functions without their paths (`debug = "line-tables-only"`).
    LinesOnly,
    /// No names at all (`strip = true`).
    Stripped,
    /// Nothing was looked up yet.
    Unknown,
}

impl SymbolQuality {
    /// Judges by what most addresses have; a few odd ones (start code, C code) do not change the
    /// verdict.
    ///
    /// A quarter of bare names is enough for [`LinesOnly`](SymbolVerdict::LinesOnly), because the
    /// standard library comes with paths whatever the profile says.
    pub fn verdict(&self) -> SymbolVerdict {
        if self.addresses == 0 {
            SymbolVerdict::Unknown
        } else if self.nameless > self.addresses / 2 {
            SymbolVerdict::Stripped
        } else if self.names_only > self.with_lines {
            SymbolVerdict::FunctionsOnly
        } else if self.bare_names >= self.addresses.div_ceil(4) {
            SymbolVerdict::LinesOnly
        } else {
            SymbolVerdict::Full
        }
    }

    /// What to change in `Cargo.toml` to see more; `None` when there is nothing to gain.
    pub fn advice(&self) -> Option<&'static str> {
        match self.verdict() {
            SymbolVerdict::Full | SymbolVerdict::Unknown => None,
            SymbolVerdict::FunctionsOnly => Some(
                "inlined functions are charged to the function they were inlined into; set `debug = 1` in \
                 [profile.release] to see them, and lines",
            ),
            SymbolVerdict::LinesOnly => Some(
                "`debug = \"line-tables-only\"` keeps no paths of inlined functions; set `debug = 1` in \
                 [profile.release] to see them",
            ),
            SymbolVerdict::Stripped => Some(
                "no symbols: the program was stripped, so nothing can be charged to functions; set `strip = false` \
                 and `debug = 1` in [profile.release]",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality(with_lines: u64, names_only: u64, bare_names: u64, nameless: u64) -> SymbolQuality {
        let addresses = with_lines + names_only + nameless;
        SymbolQuality { addresses, with_lines, names_only, bare_names, nameless, inlined_frames: false }
    }

    #[test]
    fn the_verdict_follows_what_most_addresses_have() {
        assert_eq!(quality(0, 0, 0, 0).verdict(), SymbolVerdict::Unknown);
        assert_eq!(quality(98, 1, 2, 1).verdict(), SymbolVerdict::Full);
        assert_eq!(quality(1, 98, 0, 1).verdict(), SymbolVerdict::FunctionsOnly);
        assert_eq!(quality(99, 1, 60, 0).verdict(), SymbolVerdict::LinesOnly);
        assert_eq!(quality(0, 3, 0, 97).verdict(), SymbolVerdict::Stripped);
    }

    #[test]
    fn advice_names_the_profile_key() {
        assert_eq!(quality(0, 0, 0, 0).advice(), None);
        assert_eq!(quality(100, 0, 0, 0).advice(), None);
        assert!(quality(0, 100, 0, 0).advice().unwrap().contains("`debug = 1`"));
        assert!(quality(100, 0, 100, 0).advice().unwrap().contains("`debug = 1`"));
        assert!(quality(0, 0, 0, 100).advice().unwrap().contains("`strip = false`"));
    }
}
