//! What `memory` measures: blocks of which size, how many, made and touched in which way. A row of a table each.
//!
//! The words are those of benches/workloads/src/load.rs.

#[derive(Debug)]
pub(crate) struct Load {
    /// Of the row.
    pub(crate) name: &'static str,
    pub(crate) judged: Judged,
    pub(crate) blocks: usize,
    /// In bytes: `24`, or the least and the most, `16..65536`.
    size: &'static str,
    align: usize,
    make: &'static str,
    touch: &'static str,
}

/// By what heaptally's memory is judged, and in which table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Judged {
    /// As a ratio to the inner allocator alone.
    Ratio,
    /// By the inner allocator alone with blocks of eight bytes more: a tag's bytes.
    Tag,
    /// Not: the bytes more are told.
    Bytes,
}

/// The most that heaptally may take of what the inner allocator takes alone.
pub(crate) const RATIO_GOAL: f64 = 1.04;

/// Bytes of a tag.
const TAG_BYTES: usize = 8;

const MILLION: usize = 1_000_000;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

impl Load {
    /// Blocks of which each page is written.
    const fn touched(name: &'static str, judged: Judged, blocks: usize, size: &'static str) -> Self {
        Self { name, judged, blocks, size, align: 8, make: "plain", touch: "pages" }
    }

    const fn small(name: &'static str, size: &'static str) -> Self {
        Self::touched(name, Judged::Tag, MILLION, size)
    }

    const fn zeroed(name: &'static str, blocks: usize, size: &'static str) -> Self {
        Self { name, judged: Judged::Bytes, blocks, size, align: 8, make: "zeroed", touch: "nothing" }
    }

    const fn at(self, align: usize) -> Self {
        Self { align, ..self }
    }
}

/// A million blocks, or as many as are half a GiB to a GiB: what a block takes does not depend on how many there are.
pub(crate) const LOADS: [Load; 27] = [
    Load::touched("256 B", Judged::Ratio, MILLION, "256"),
    Load::touched("1 KiB", Judged::Ratio, MILLION, "1024"),
    Load::touched("4 KiB", Judged::Ratio, MILLION, "4096"),
    Load::touched("64 KiB", Judged::Ratio, GIB / (64 * KIB), "65536"),
    Load::touched("16 B to 64 KiB, random", Judged::Ratio, GIB / 2 / (8 * KIB), "16..65536"),
    Load { make: "grown", ..Load::touched("1 to 8 KiB, doubled", Judged::Ratio, GIB / 2 / (4 * KIB), "1024..8192") },
    Load::touched("2 MiB at 2 MiB", Judged::Ratio, GIB / 2 / (2 * MIB), "2097152").at(2 * MIB),
    Load::small("8 B", "8"),
    Load::small("16 B", "16"),
    Load::small("24 B", "24"),
    Load::small("32 B", "32"),
    Load::small("48 B", "48"),
    Load::small("64 B", "64"),
    Load::small("100 B", "100"),
    Load::small("128 B", "128"),
    Load::small("200 B", "200"),
    Load::small("248 B", "248"),
    Load::small("255 B", "255"),
    Load::small("32 B at 32", "32").at(32),
    Load::small("64 B at 64", "64").at(64),
    Load::small("128 B at 128", "128").at(128),
    // A page each with some allocators.
    Load { blocks: MILLION / 4, ..Load::small("64 B at 4096", "64").at(4096) },
    Load { touch: "first", ..Load::touched("64 KiB, first page touched", Judged::Bytes, GIB / (64 * KIB), "65536") },
    Load { touch: "nothing", ..Load::touched("64 KiB, untouched", Judged::Bytes, GIB / (64 * KIB), "65536") },
    Load::zeroed("64 KiB, zeroed, untouched", GIB / (64 * KIB), "65536"),
    Load::zeroed("1 MiB, zeroed, untouched", 4 * GIB / MIB, "1048576"),
    Load::zeroed("64 MiB, zeroed, untouched", 4 * GIB / (64 * MIB), "67108864"),
];

/// What is allocated of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    /// Its blocks.
    Same,
    /// Blocks with room for a tag behind them.
    WithTag,
}

impl Load {
    /// What a subject's process is told.
    pub(crate) fn words(&self, asked: Asked, blocks: usize) -> Vec<String> {
        let size = match asked {
            Asked::Same => self.size.to_owned(),
            Asked::WithTag => (self.size.parse::<usize>().expect("one size") + TAG_BYTES).to_string(),
        };
        let words = ["memory", "--blocks", &blocks.to_string(), "--size", &size, "--align", &self.align.to_string()];
        let words = words.into_iter().chain(["--make", self.make, "--touch", self.touch]);
        words.map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_told_in_words() {
        let words = |load: &Load, asked| load.words(asked, 7).join(" ");
        let small = Load::small("64 B at 64", "64").at(64);
        assert_eq!(words(&small, Asked::Same), "memory --blocks 7 --size 64 --align 64 --make plain --touch pages");
        assert_eq!(words(&small, Asked::WithTag), "memory --blocks 7 --size 72 --align 64 --make plain --touch pages");
    }

    #[test]
    fn no_load_touches_more_than_four_gibibytes() {
        for load in LOADS.iter().filter(|load| load.touch == "pages") {
            let (least, most) = load.size.split_once("..").unwrap_or((load.size, load.size));
            let (least, most): (f64, f64) = (least.parse().unwrap(), most.parse().unwrap());
            // Of sizes that are as likely in every octave, which doubled ones are below.
            let mean = if most > least { (most - least) / (most / least).ln() } else { most };
            assert!(load.blocks as f64 * mean <= 4.0 * GIB as f64, "{}", load.name);
        }
    }
}
