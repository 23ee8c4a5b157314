//! The most bytes that were live at once, and which functions held them.
//!
//! Made by the aggregator, read on any thread.

use std::fmt;

use crate::snapshot::Snapshot;
use crate::snapshot_table;
use crate::units::{Bytes, Seconds};

/// The most bytes of the program, without those of heaptally itself, that were live at once since tracking was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeakBytes {
    /// The number of bytes, off by [`PeakBytes::error_bytes`] at most.
    pub live_bytes: u64,
    /// 64 KiB for each thread state in existence ([`Overhead::threads`](crate::Overhead::threads)): what each thread
    /// allocates or frees before it tells. And those blocks that were being counted at that instant.
    pub error_bytes: u64,
}

/// The peak of the heap, and its rows at a moment close to it. `Display` prints both.
#[derive(Clone, Debug)]
pub struct Peak {
    bytes: PeakBytes,
    snapshot: Snapshot,
}

impl Peak {
    /// The peak, and a snapshot of the rows that held something close to it.
    pub fn new(bytes: PeakBytes, snapshot: Snapshot) -> Self {
        Self { bytes, snapshot }
    }

    /// How much was live at the peak.
    pub fn bytes(&self) -> PeakBytes {
        self.bytes
    }

    /// The part of the peak that was live when the rows of [`Peak::snapshot`] were read: 1 at the peak itself. A little
    /// more where the peak is off. `None` before anything was allocated.
    pub fn closeness(&self) -> Option<f64> {
        let captured = self.snapshot.program().live_bytes().max(0);
        (self.bytes.live_bytes > 0).then(|| captured as f64 / self.bytes.live_bytes as f64)
    }

    /// The sites that held something, close to the peak. Those that held nothing are left out, so that the sums of what
    /// was allocated and freed are below the totals; live bytes and blocks are complete.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PeakBytes { live_bytes, error_bytes } = self.bytes;
        write!(f, "peak: {} live, give or take {}", Bytes(live_bytes), Bytes(error_bytes))?;
        if let Some(closeness) = self.closeness() {
            let when = Seconds(self.snapshot.elapsed());
            write!(f, "; captured at {:.1} % of the peak, {when} after start\n\n", closeness * 100.0)?;
            let table = snapshot_table::table(&self.snapshot, f);
            write!(f, "{table}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::fixtures::{counts, site, snapshot_at};
    use crate::{Site, SiteKind};

    use super::*;

    #[test]
    fn a_peak_says_how_close_to_it_its_rows_are() {
        let sites = vec![
            site("app::load", counts(4, 3000, 1, 600)),
            site("app::keep", counts(2, 600, 0, 0)),
            Site::pseudo(SiteKind::Internal, counts(9, 9000, 0, 0)),
        ];
        let bytes = PeakBytes { live_bytes: 4000, error_bytes: 131_072 };
        let peak = Peak::new(bytes, snapshot_at(Duration::from_millis(2500), sites));
        assert_eq!(peak.closeness(), Some(0.75));
        let text = peak.to_string();
        let head = "peak: 3.9 KiB live, give or take 128.0 KiB; captured at 75.0 % of the peak, 2.5 s after start\n\n";
        assert!(text.starts_with(head), "{text}");
        assert!(text.contains("app::load\n") && text.contains("app::keep\n"), "{text}");
    }

    #[test]
    fn a_peak_of_nothing_has_no_rows() {
        let peak = Peak::new(PeakBytes::default(), snapshot_at(Duration::ZERO, Vec::new()));
        assert_eq!((peak.closeness(), peak.to_string()), (None, "peak: 0 B live, give or take 0 B".to_owned()));
    }
}
