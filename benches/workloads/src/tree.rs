//! `tree`: a merge sort and a search tree, both by recursion, on 105,535 distinct stacks.
//!
//! Every part of the list and every node of the tree is allocated at the end of another path of left and right. Each
//! stack is used once a lap, so nothing that a tracker keeps near at hand is of use: every allocation comes to the table
//! of stacks. `tests/stacks.rs` counts them.

use std::hint::black_box;

use crate::work::Work;
use crate::xorshift::Xorshift;

/// A power of two: its parts are halves down to a single number, twice as many parts less one.
const SORTED: u32 = 1 << 15;
const NODES: u32 = 40_000;

pub(crate) struct Tree {
    unsorted: Vec<u32>,
    keys: Vec<u32>,
}

struct Node {
    key: u32,
    children: [Option<Box<Node>>; 2],
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self { unsorted: shuffled(SORTED), keys: shuffled(NODES) }
    }
}

impl Work for Tree {
    fn operation(&self) -> &'static str {
        "block"
    }

    fn operations_a_lap(&self) -> u64 {
        u64::from(2 * SORTED - 1 + NODES)
    }

    fn lap(&mut self) -> u64 {
        let sorted = sort(black_box(&self.unsorted));
        let mut root = None;
        for &key in &self.keys {
            insert(&mut root, key);
        }
        let root = root.expect("keys were inserted");
        sorted.iter().fold(root.sum(), |sum, &number| sum.wrapping_mul(31).wrapping_add(u64::from(number)))
    }
}

/// The numbers below the limit in a random order, the same in every process.
fn shuffled(limit: u32) -> Vec<u32> {
    let mut random = Xorshift::new(3);
    let mut numbers: Vec<u32> = (0..limit).collect();
    for last in (1..numbers.len()).rev() {
        numbers.swap(last, random.below(last + 1));
    }
    numbers
}

/// Allocates one block for each part of the list.
#[inline(never)]
fn sort(numbers: &[u32]) -> Vec<u32> {
    if numbers.len() == 1 {
        return numbers.to_vec();
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    // Black boxes, or the two calls could become one in a loop.
    let (left, right) = (black_box(sort(left)), black_box(sort(right)));
    let mut sorted = Vec::with_capacity(numbers.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    while let (Some(&&a), Some(&&b)) = (left.peek(), right.peek()) {
        sorted.push(a.min(b));
        if a <= b {
            left.next()
        } else {
            right.next()
        };
    }
    sorted.extend(left.chain(right));
    sorted
}

/// Allocates the node at the end of its path.
#[inline(never)]
fn insert(place: &mut Option<Box<Node>>, key: u32) {
    let Some(node) = place else {
        *place = black_box(Some(Box::new(Node { key, children: [None, None] })));
        return;
    };
    let [left, right] = &mut node.children;
    // Something after each call, so that its frame stays and is its own.
    if key < node.key {
        insert(left, key);
        black_box(left);
    } else {
        insert(right, key);
        black_box(right);
    }
}

impl Node {
    /// Of what the order of the insertions has made of the tree.
    fn sum(&self) -> u64 {
        let [left, right] = self.children.each_ref().map(|child| child.as_ref().map_or(1, |child| child.sum()));
        left.wrapping_mul(31).wrapping_add(right.wrapping_mul(7)).wrapping_add(u64::from(self.key))
    }
}
