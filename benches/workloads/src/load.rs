//! What the measurement of memory allocates: so many blocks of these sizes, made and touched in this way. Read from the
//! words that the driver gives.

use std::alloc::Layout;

use crate::block::{Block, Contents};
use crate::xorshift::Xorshift;

pub(crate) struct Load {
    pub(crate) blocks: usize,
    least: usize,
    /// As `least` where all have one size.
    most: usize,
    align: usize,
    make: Make,
    touch: Touch,
}

#[derive(Clone, Copy)]
enum Make {
    /// As large as they stay. Of several sizes, each between two powers of two is as likely as between two others.
    Plain,
    Zeroed,
    /// From the least size doubled until they are as large as the next power of two in turn.
    Grown,
}

#[derive(Clone, Copy)]
enum Touch {
    /// A byte in every page, and the last.
    Pages,
    /// The first byte.
    First,
    Nothing,
}

impl Load {
    /// `--blocks N --size S|LEAST..MOST [--align A] [--make plain|zeroed|grown] [--touch pages|first|nothing]`
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut load = Self { blocks: 0, least: 0, most: 0, align: 8, make: Make::Plain, touch: Touch::Pages };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            match (word.as_str(), value.as_str()) {
                ("--blocks", count) => load.blocks = number(count)?,
                ("--align", bytes) => load.align = number(bytes)?,
                ("--size", size) => {
                    let (least, most) = size.split_once("..").unwrap_or((size, size));
                    (load.least, load.most) = (number(least)?, number(most)?);
                }
                ("--make", "plain") => load.make = Make::Plain,
                ("--make", "zeroed") => load.make = Make::Zeroed,
                ("--make", "grown") => load.make = Make::Grown,
                ("--touch", "pages") => load.touch = Touch::Pages,
                ("--touch", "first") => load.touch = Touch::First,
                ("--touch", "nothing") => load.touch = Touch::Nothing,
                _ => return Err(format!("unknown argument {word} {value}")),
            }
        }
        let valid = Layout::from_size_align(load.most, load.align).is_ok();
        if load.blocks == 0 || load.least == 0 || load.least > load.most || !valid {
            return Err("needs --blocks, --size and a valid --align".to_owned());
        }
        Ok(load)
    }

    /// Fills the slots with blocks, and gives the sum of their sizes. Not inlined: all of a process's blocks come from
    /// one call site.
    #[inline(never)]
    pub(crate) fn fill(&self, slots: &mut [Option<Block>]) -> u64 {
        let mut random = Xorshift::new(1);
        let mut bytes = 0;
        for (turn, slot) in slots.iter_mut().enumerate() {
            let block = slot.insert(self.block(turn, &mut random));
            bytes += block.size() as u64;
        }
        bytes
    }

    fn block(&self, turn: usize, random: &mut Xorshift) -> Block {
        let contents = if matches!(self.make, Make::Zeroed) { Contents::Zeros } else { Contents::Anything };
        let grown = matches!(self.make, Make::Grown);
        let size = if grown { self.least } else { self.size(random) };
        let mut block = Block::new(Layout::from_size_align(size, self.align).expect("checked"), contents);
        self.touch(&mut block);
        if grown {
            let doublings = turn % ((self.most / self.least).ilog2() as usize + 1);
            for _ in 0..doublings {
                block.double();
                self.touch(&mut block);
            }
        }
        block
    }

    fn touch(&self, block: &mut Block) {
        match self.touch {
            Touch::Pages => block.touch(block.size()),
            Touch::First => block.touch(1),
            Touch::Nothing => {}
        }
    }

    fn size(&self, random: &mut Xorshift) -> usize {
        const STEPS: usize = 1 << 20;
        let ratio = self.most as f64 / self.least as f64;
        let size = self.least as f64 * ratio.powf(random.below(STEPS) as f64 / STEPS as f64);
        (size as usize).clamp(self.least, self.most)
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text} is not a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(line: &str) -> Vec<usize> {
        let load = Load::parse(line.split_whitespace().map(str::to_owned)).expect(line);
        let mut slots: Vec<_> = (0..load.blocks).map(|_| None).collect();
        let bytes = load.fill(&mut slots);
        let sizes: Vec<usize> = slots.iter().flatten().map(Block::size).collect();
        assert_eq!(sizes.iter().sum::<usize>() as u64, bytes);
        sizes
    }

    #[test]
    fn blocks_of_one_size_have_that_size() {
        assert_eq!(filled("--blocks 3 --size 100"), [100; 3]);
        assert_eq!(filled("--blocks 2 --size 64 --align 4096 --make zeroed --touch nothing"), [64; 2]);
    }

    #[test]
    fn grown_blocks_have_the_powers_of_two_in_turn() {
        assert_eq!(filled("--blocks 6 --size 1024..8192 --make grown"), [1024, 2048, 4096, 8192, 1024, 2048]);
    }

    #[test]
    fn random_sizes_are_as_likely_in_every_octave() {
        let sizes = filled("--blocks 12000 --size 16..65536 --touch nothing");
        for octave in 4..16 {
            let count = sizes.iter().filter(|size| size.ilog2() == octave).count();
            assert!((850..1150).contains(&count), "{count} of 12,000 blocks in octave {octave} of 12");
        }
    }

    #[test]
    fn what_cannot_be_allocated_is_refused() {
        for line in ["--size 8", "--blocks 1", "--blocks 1 --size 8 --align 3", "--blocks 1 --size 9..8", "--blocks"] {
            assert!(Load::parse(line.split_whitespace().map(str::to_owned)).is_err(), "{line}");
        }
    }
}
