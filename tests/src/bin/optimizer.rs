//! A program whose blocks do not escape, to see that the optimizer leaves their tags alone.
//!
//! The harness `tests/optimizer.rs` builds it with and without link-time optimization and runs it. The compiler knows
//! what `__rust_alloc` returns, how large it is, and that nobody else can see it: it may fold what it reads behind
//! the block, or drop what it writes there. Here it can see as much as possible: sizes are constants, and no pointer
//! passes through `black_box`.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::process::ExitCode;
use std::rc::Rc;

use heaptally::TallyAlloc;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const ROUNDS: u64 = 100;
/// Blocks that no compiler may leave out: those of `grows`, whose length it does not know.
const LEAST_BLOCKS: u64 = ROUNDS;

fn main() -> ExitCode {
    let outcome = all("before the start").and_then(|()| {
        heaptally::start(heaptally::config!()).map_err(|error| error.to_string())?;
        all("tracking")
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("optimizer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything, and sees that every block was freed under its own tag.
fn all(when: &str) -> Result<(), String> {
    let run = || (0..ROUNDS).fold(0, |sum: u64, round| sum.wrapping_add(every_shape(round)));
    let (sum, counts) = heaptally::measure(run);
    let snapshot = heaptally::snapshot();
    let unknown = snapshot.losses().unknown_frees.blocks;
    println!("{when}: {} blocks, {unknown} damaged, sum {sum}", counts.allocated_blocks);
    if unknown != 0 || counts.live_blocks() != 0 || counts.live_bytes() != 0 || counts.allocated_blocks < LEAST_BLOCKS {
        return Err(format!("{when}: {unknown} damaged tags, {counts:?}"));
    }
    snapshot.check().map_err(|violation| format!("{when}: {violation}"))
}

fn every_shape(round: u64) -> u64 {
    let parts = [
        zeroed_vectors(),
        boxes(round),
        strings(round),
        grows(black_box(round)),
        collections(round),
        untouched(),
        resized_by_hand(),
        zeroed_by_hand(),
    ];
    parts.iter().fold(0, |sum, part| sum.wrapping_mul(31).wrapping_add(*part))
}

/// `alloc_zeroed`, read only: zeros, as the compiler knows.
#[expect(clippy::useless_vec, reason = "the block is what this is about")]
fn zeroed_vectors() -> u64 {
    let bytes = vec![0_u8; 24];
    let words = vec![0_u64; 40];
    let more = vec![0_u8; black_box(1000)];
    u64::from(bytes[23]) + words.iter().sum::<u64>() + more.iter().map(|&byte| u64::from(byte)).sum::<u64>()
}

fn boxes(round: u64) -> u64 {
    let small = Box::new(round);
    let large = Box::new([round; 32]);
    let counted = Rc::new(round);
    let again = Rc::clone(&counted);
    let object: Box<dyn Fn(u64) -> u64> = Box::new(move |n| n + round);
    *small + large[31] + *again + object(1)
}

fn strings(round: u64) -> u64 {
    let mut text = String::from("a text of some length");
    text.push_str(" and more than that");
    let number = round.to_string();
    let both = format!("{text} {number}");
    (text.len() + both.len() + number.len()) as u64
}

/// A vector that is resized as it grows, and shrunk at the end.
fn grows(len: u64) -> u64 {
    let mut numbers = Vec::new();
    for number in 0..=len {
        numbers.push(number);
    }
    numbers.truncate(numbers.len() / 2 + 1);
    numbers.shrink_to_fit();
    numbers.iter().sum()
}

fn collections(round: u64) -> u64 {
    let map: BTreeMap<u64, u64> = (0..20).map(|key| (key, round)).collect();
    let queue: VecDeque<u64> = (0..round % 7).collect();
    let boxes: Vec<Box<u64>> = (0..3).map(Box::new).collect();
    map.values().sum::<u64>() + queue.iter().sum::<u64>() + boxes.iter().map(|number| **number).sum::<u64>()
}

/// Blocks that are freed as they came.
fn untouched() -> u64 {
    const LAYOUT: Layout = Layout::new::<[u64; 3]>();
    // SAFETY: not of zero size; freed once, with its layout, if there is one.
    unsafe {
        let block = alloc(LAYOUT);
        if block.is_null() {
            return 0;
        }
        dealloc(block, LAYOUT);
    }
    1
}

fn resized_by_hand() -> u64 {
    const LAYOUT: Layout = Layout::new::<[u64; 3]>();
    const LARGER: Layout = Layout::new::<[u64; 9]>();
    // SAFETY: not of zero size; written before it is read, resized and freed with the layout it has.
    unsafe {
        let block = alloc(LAYOUT);
        if block.is_null() {
            return 0;
        }
        block.cast::<u64>().write(7);
        let resized = realloc(block, LAYOUT, LARGER.size());
        if resized.is_null() {
            dealloc(block, LAYOUT);
            return 0;
        }
        let value = resized.cast::<u64>().read();
        dealloc(resized, LARGER);
        value
    }
}

fn zeroed_by_hand() -> u64 {
    const LAYOUT: Layout = Layout::new::<[u64; 5]>();
    // SAFETY: not of zero size; freed once, with its layout, if there is one.
    unsafe {
        let block = alloc_zeroed(LAYOUT);
        if block.is_null() {
            return 0;
        }
        let value = block.cast::<u64>().add(4).read();
        dealloc(block, LAYOUT);
        value
    }
}
