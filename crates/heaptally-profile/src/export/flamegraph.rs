//! Flame graphs: the heap as a picture that a browser shows, drawn by the crate `inferno` from folded stacks.
//!
//! A pure function of the snapshot, for any thread; allocates.

use std::io::{self, Write};

use inferno::flamegraph::color::{BasicPalette, Palette};
use inferno::flamegraph::{Options, from_lines};

use crate::counts::Counts;
use crate::row::Rank;
use crate::site::Site;
use crate::site_kind::SiteKind;
use crate::snapshot::Snapshot;

use super::folded;

/// Draws the [folded stacks](super::folded) of the program as an SVG with a search field, in the colours that are customary
/// for memory.
///
/// A function is as wide as its number, and stands on its callers. What is narrower than a hundredth of a percent is not
/// drawn. What heaptally itself holds would make a small program narrow: it is a number below the title instead, so the
/// two together are what the folded stacks add up to. The same snapshot gives the same picture.
///
/// # Errors
///
/// Those of `out`, and [`io::ErrorKind::InvalidData`] if no stack of the program has a
/// number above zero.
///
/// # Examples
///
/// ```
/// use heaptally_profile::Rank;
/// use heaptally_profile::export::flamegraph;
/// # use heaptally_profile::{Counts, Site, SiteKind, Snapshot, SnapshotParts};
/// # let counts = Counts { allocated_blocks: 1, allocated_bytes: 64, ..Counts::ZERO };
/// # let sites = vec![Site::pseudo(SiteKind::Paused, counts)];
/// # let snapshot = Snapshot::from_parts(SnapshotParts { sites, ..SnapshotParts::default() });
/// let mut picture = Vec::new();
/// flamegraph::write(&snapshot, Rank::LiveBytes, &mut picture)?;
/// assert!(String::from_utf8_lossy(&picture).contains("(paused) (64 bytes, 100.00%)"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(snapshot: &Snapshot, number: Rank, out: impl Write) -> io::Result<()> {
    let (title, unit) = match number {
        Rank::LiveBytes => ("Live bytes", "bytes"),
        Rank::LiveBlocks => ("Live blocks", "blocks"),
        Rank::AllocatedBytes => ("Allocated bytes", "bytes"),
        Rank::AllocatedBlocks => ("Allocated blocks", "blocks"),
    };
    let (own, program): (Vec<&Site>, Vec<&Site>) =
        snapshot.sites().iter().partition(|site| site.kind() == SiteKind::Internal);
    let own = own.iter().fold(Counts::ZERO, |sum, site| sum + site.counts());
    let mut lines = Vec::new();
    folded::write_sites(program.into_iter(), number, &mut lines)?;
    if lines.is_empty() {
        let reason = "no stack of the program has anything to draw: look at the totals of the snapshot";
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let lines = String::from_utf8(lines).expect("names are UTF-8, and so is what is between them");
    let mut options = Options::default();
    options.title = title.to_owned();
    options.subtitle = Some(format!("without {} {unit} of heaptally itself", number.value(own)));
    options.count_name = unit.to_owned();
    options.colors = Palette::Basic(BasicPalette::Mem);
    // Otherwise names have colours by chance.
    options.deterministic = true;
    from_lines(&mut options, lines.lines(), out)
}

#[cfg(test)]
mod tests {
    use crate::export::small_heap::small_heap;
    use crate::fixtures::snapshot;

    use super::*;

    fn picture(number: Rank) -> String {
        let mut picture = Vec::new();
        write(&small_heap(), number, &mut picture).unwrap();
        String::from_utf8(picture).unwrap()
    }

    #[test]
    fn functions_have_what_stands_on_them_in_the_unit_of_the_number() {
        let bytes = picture(Rank::LiveBytes);
        for title in [
            "Live bytes</text>",
            "without 300 bytes of heaptally itself</text>",
            "<title>all (258 bytes, 100%)</title>",
            "<title>(paused) (8 bytes, 3.10%)</title>",
            "<title>app::main (250 bytes, 96.90%)</title>",
            "<title>app::cache::put::&lt;[u8: 4]&gt; (250 bytes, 96.90%)</title>",
            "<title>__rustc::__rust_realloc (50 bytes, 19.38%)</title>",
        ] {
            assert!(bytes.contains(title), "{title} is not in {bytes}");
        }
        let blocks = picture(Rank::AllocatedBlocks);
        for title in ["Allocated blocks</text>", "without 5 blocks of", "<title>all (7 blocks, 100%)</title>"] {
            assert!(blocks.contains(title), "{title} is not in {blocks}");
        }
    }

    #[test]
    fn the_same_snapshot_gives_the_same_picture() {
        assert_eq!(picture(Rank::AllocatedBytes), picture(Rank::AllocatedBytes));
    }

    #[test]
    fn nothing_cannot_be_drawn() {
        let error = write(&snapshot(Vec::new()), Rank::LiveBytes, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
