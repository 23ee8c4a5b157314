//! What one process of a subject took for its blocks: the line it prints, read.

use std::path::Path;
use std::process::Command;

use crate::process;
use crate::sample::{self, Sample};

#[derive(Debug, PartialEq)]
pub(crate) struct Footprint {
    /// Resident bytes a block.
    pub(crate) sample: Sample,
    /// What the tracker held for itself.
    pub(crate) own: Own,
}

/// Bytes of a tracker's own memory, those that each block carries left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Own {
    /// When the blocks were made.
    pub(crate) after_bytes: u64,
    /// Since before.
    pub(crate) grown_bytes: u64,
}

impl Footprint {
    /// Runs a subject with these words.
    pub(crate) fn take(program: &Path, words: &[String]) -> Result<Self, String> {
        Self::parse(&process::output(Command::new(program).args(words))?)
    }

    fn parse(line: &str) -> Result<Self, String> {
        let bytes = |key| {
            let word = sample::word(line, key)?;
            word.parse::<u64>().map_err(|_| format!("printed no number of {key}: {}", line.trim()))
        };
        let (before, after_bytes) = (bytes("own_before")?, bytes("own_after")?);
        let own = Own { after_bytes, grown_bytes: after_bytes.saturating_sub(before) };
        Ok(Self { sample: Sample::parse(line)?, own })
    }
}

impl Own {
    /// The most of both.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            after_bytes: self.after_bytes.max(other.after_bytes),
            grown_bytes: self.grown_bytes.max(other.grown_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = "workload=memory metric=resident unit=bytes/block better=lower value=4112.5 checksum=f4 own_before=700 own_after=720\n";
        let footprint = Footprint::parse(line).unwrap();
        assert_eq!((footprint.sample.readings[0].value, footprint.sample.checksum.as_str()), (4112.5, "f4"));
        assert_eq!(footprint.own, Own { after_bytes: 720, grown_bytes: 20 });
        assert!(Footprint::parse("metric=resident unit=bytes/block better=lower value=1 checksum=0").is_err());
    }

    #[test]
    fn the_most_is_that_of_each() {
        let (a, b) = (Own { after_bytes: 9, grown_bytes: 1 }, Own { after_bytes: 5, grown_bytes: 3 });
        assert_eq!(a.max(b), Own { after_bytes: 9, grown_bytes: 3 });
    }
}
