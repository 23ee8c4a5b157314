//! What was allocated and freed in a region of a program, as a person reads it.
//!
//! A pure function of the numbers, for any thread; printing allocates.

use std::fmt;

use crate::counts::Counts;
use crate::diff::Diff;
use crate::diff_row::DiffRow;
use crate::diff_table::table_of;
use crate::units::{GroupedChange, SignedPlural};

/// Functions shown.
const FUNCTIONS: usize = 5;

/// What was allocated and freed in a region, and by which functions, if that is known.
///
/// `Display` prints one line, and below it the five functions whose live bytes grew most; of those that freed what they
/// allocated, the ones that allocated most. The other functions and pseudo-rows are added up. Where the functions are not
/// known, a sentence says what to do about it.
///
/// # Examples
///
/// ```
/// use heaptally_profile::{Counts, RegionReport};
///
/// let change = Counts { allocated_blocks: 3, allocated_bytes: 3_000, freed_blocks: 1, freed_bytes: 1_000 };
/// let report = RegionReport::new(change, None);
/// assert!(report.to_string().starts_with(
///     "allocated 3,000 bytes in 3 blocks, freed 1,000 bytes in 1 block; live +2,000 bytes in +2 blocks"
/// ));
/// ```
#[derive(Clone, Debug)]
pub struct RegionReport {
    change: Counts,
    diff: Option<Diff>,
}

impl RegionReport {
    /// Of these counts, and the difference of a snapshot at the end of the region and one at its beginning, if there are
    /// such.
    pub fn new(change: Counts, diff: Option<Diff>) -> Self {
        Self { change, diff }
    }

    /// What was allocated and freed.
    pub fn change(&self) -> Counts {
        self.change
    }

    /// What each function allocated and freed, if that is known.
    pub fn diff(&self) -> Option<&Diff> {
        self.diff.as_ref()
    }
}

impl fmt::Display for RegionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes } = self.change;
        let number = |number: u64, noun| SignedPlural(number.cast_signed(), noun);
        write!(f, "allocated {} in {}", number(allocated_bytes, "byte"), number(allocated_blocks, "block"))?;
        write!(f, ", freed {} in {}", number(freed_bytes, "byte"), number(freed_blocks, "block"))?;
        let live = (GroupedChange(self.change.live_bytes()), GroupedChange(self.change.live_blocks()));
        write!(f, "; live {} bytes in {} blocks", live.0, live.1)?;
        let Some(diff) = &self.diff else {
            return f.write_str(
                "\nto see by which functions: call heaptally::start, and begin with heaptally::ProcessRegion::with_sites",
            );
        };
        let program: Vec<&DiffRow> = diff.rows().iter().filter(|row| row.kind().is_program()).collect();
        if program.is_empty() {
            return f.write_str("\nno function allocated or freed");
        }
        let (first, others) = program.split_at(program.len().min(FUNCTIONS));
        write!(f, "\n\n{}", table_of(first, others, diff.grouping()).to_string().trim_end())
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{counts, site, site_at, snapshot};
    use crate::site::Site;
    use crate::site_kind::SiteKind;

    use super::*;

    #[test]
    fn without_functions_the_report_says_how_to_get_them() {
        assert_eq!(
            RegionReport::new(counts(1, 1, 2, 2_000), None).to_string(),
            "allocated 1 byte in 1 block, freed 2,000 bytes in 2 blocks; live -1,999 bytes in -1 blocks\n\
             to see by which functions: call heaptally::start, and begin with heaptally::ProcessRegion::with_sites"
        );
    }

    /// Seven functions of 1 to 7 KiB, the smallest of which gave 2 blocks back; heaptally's own are not among them.
    #[test]
    fn five_functions_are_shown_and_the_others_added_up() {
        let before = vec![site("app::f1", counts(5, 5_120, 0, 0))];
        let mut after: Vec<Site> = (2..=7).map(|n| site(&format!("app::f{n}"), counts(n, 1_024 * n, 0, 0))).collect();
        after.push(site_at("app::f1", 1, 7, counts(6, 6_144, 2, 2_048)));
        after.push(Site::pseudo(SiteKind::Internal, counts(50, 1 << 20, 0, 0)));
        let diff = snapshot(after).since(&snapshot(before));
        assert_eq!(
            RegionReport::new(counts(28, 28_672, 2, 2_048), Some(diff)).to_string(),
            "\
allocated 28,672 bytes in 28 blocks, freed 2,048 bytes in 2 blocks; live +26,624 bytes in +26 blocks

live bytes  live blocks  allocated bytes  allocated blocks  function
  +7.0 KiB           +7          7.0 KiB                 7  app::f7 [new]
  +6.0 KiB           +6          6.0 KiB                 6  app::f6 [new]
  +5.0 KiB           +5          5.0 KiB                 5  app::f5 [new]
  +4.0 KiB           +4          4.0 KiB                 4  app::f4 [new]
  +3.0 KiB           +3          3.0 KiB                 3  app::f3 [new]
  +1.0 KiB           +1          3.0 KiB                 3  … and 2 more functions"
        );
    }

    #[test]
    fn a_region_in_which_nothing_happened_has_no_table() {
        let nothing = snapshot(Vec::new());
        let text = RegionReport::new(Counts::ZERO, Some(nothing.since(&nothing))).to_string();
        assert_eq!(
            text,
            "allocated 0 bytes in 0 blocks, freed 0 bytes in 0 blocks; live 0 bytes in 0 blocks\n\
             no function allocated or freed"
        );
    }
}
