//! Blocks that do not escape, in all the shapes that a compiler may see through.
//!
//! The compiler knows what `__rust_alloc` returns, how large it is, what a zeroed block holds, and that nobody else can
//! see it: it may fold what is read behind the block, or drop what is written there. Here it can see as much as
//! possible: sizes are constants where they can be, and no pointer to a block passes through `black_box`. An index that
//! it cannot know keeps it from leaving a block out altogether.
//!
//! Shared by two programs, `optimizer` and `unlaundered`, each with its own global allocator.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::rc::Rc;

/// A name, and what is done in one round, whose number it is given.
pub(crate) type Shape = (&'static str, fn(u64) -> u64);

/// All of them.
pub(crate) const ALL: [Shape; 17] = [
    ("zeroed vectors", |_| zeroed_vectors()),
    ("zeroed, read somewhere", |_| zeroed_and_read_somewhere()),
    ("generic, small", |round| generic(round as u32)),
    ("generic, large", |round| generic([round; 4])),
    ("written, read somewhere", written_and_read_somewhere),
    ("boxes", boxes),
    ("strings", strings),
    ("growing vector", |round| grows(black_box(round))),
    ("collections", collections),
    ("untouched", |_| untouched()),
    ("resized by hand", |_| resized_by_hand()),
    ("zeroed, resized, read somewhere", |_| zeroed_resized_and_read_somewhere()),
    ("zeroed, grown, read somewhere", grown_vector_of_zeros),
    ("zeroed by hand", |_| zeroed_by_hand()),
    ("large, zeroed, read somewhere", |_| large_zeroed_and_read_somewhere()),
    ("large boxes", |round| large_boxes(round as u8)),
    ("resized from large to small and back", |_| shrunk_and_grown_by_hand()),
];

/// `alloc_zeroed`, read only: zeros, as the compiler knows.
#[expect(clippy::useless_vec, reason = "the block is what this is about")]
fn zeroed_vectors() -> u64 {
    let bytes = vec![0_u8; 24];
    let words = vec![0_u64; 40];
    let more = vec![0_u8; black_box(1000)];
    u64::from(bytes[23]) + words.iter().sum::<u64>() + more.iter().map(|&byte| u64::from(byte)).sum::<u64>()
}

/// As above, at places that the compiler does not know: it must keep the blocks, and knows that they are zero wherever
/// nobody wrote. A tag that is read here, in the caller of `alloc_zeroed`, is folded to zero.
#[expect(clippy::useless_vec, reason = "the block is what this is about")]
#[inline(never)]
fn zeroed_and_read_somewhere() -> u64 {
    let bytes = vec![0_u8; 24];
    let words = vec![0_u64; 40];
    let more = vec![0_u8; black_box(100)];
    u64::from(bytes[black_box(23)]) + words[black_box(39)] + u64::from(more[black_box(99)])
}

/// Allocated and freed in one function, which is compiled with the caller and for its type.
fn generic<T: Copy + PartialEq + Default>(value: T) -> u64 {
    let kept = Box::new([value; 3]);
    let other = Box::new([T::default(); 3]);
    u64::from(kept[black_box(1)] == other[black_box(2)])
}

#[inline(never)]
fn written_and_read_somewhere(round: u64) -> u64 {
    let numbers = Box::new([round; 32]);
    numbers[black_box(31)]
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

/// The tag of a zeroed block, read by `realloc`.
fn zeroed_resized_and_read_somewhere() -> u64 {
    const LAYOUT: Layout = Layout::new::<[u64; 3]>();
    const LARGER: Layout = Layout::new::<[u64; 9]>();
    // SAFETY: not of zero size; read where it is zero, resized and freed with the layout it has.
    unsafe {
        let block = alloc_zeroed(LAYOUT);
        if block.is_null() {
            return 0;
        }
        let resized = realloc(block, LAYOUT, LARGER.size());
        if resized.is_null() {
            dealloc(block, LAYOUT);
            return 0;
        }
        let value = resized.cast::<u64>().add(black_box(2)).read();
        dealloc(resized, LARGER);
        value
    }
}

/// As above, by the hand of `Vec`.
fn grown_vector_of_zeros(round: u64) -> u64 {
    let mut numbers = vec![0_u64; 4];
    numbers.push(round);
    numbers[black_box(3)]
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

/// Tags of blocks of 256 bytes and more are not behind them: nothing that the compiler knows of a block is true of those.
#[inline(never)]
fn large_zeroed_and_read_somewhere() -> u64 {
    let bytes = vec![0_u8; 4096];
    let words = vec![0_u64; black_box(1000)];
    u64::from(bytes[black_box(4095)]) + words[black_box(999)]
}

fn large_boxes(round: u8) -> u64 {
    let least = Box::new([round; 256]);
    let constant = Box::new([7_u8; 512]);
    let page = Box::new([round; 4096]);
    u64::from(least[black_box(255)]) + u64::from(constant[511]) + u64::from(page[black_box(4095)])
}

fn shrunk_and_grown_by_hand() -> u64 {
    const LARGE: Layout = Layout::new::<[u64; 64]>();
    const SMALL: Layout = Layout::new::<[u64; 3]>();
    // SAFETY: not of zero size; read where it is zero, resized and freed with the layout it has.
    unsafe {
        let block = alloc_zeroed(LARGE);
        if block.is_null() {
            return 0;
        }
        let small = realloc(block, LARGE, SMALL.size());
        if small.is_null() {
            dealloc(block, LARGE);
            return 0;
        }
        let large = realloc(small, SMALL, LARGE.size());
        if large.is_null() {
            dealloc(small, SMALL);
            return 0;
        }
        let value = large.cast::<u64>().add(black_box(2)).read();
        dealloc(large, LARGE);
        value
    }
}
