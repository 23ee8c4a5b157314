//! Random trees of calls, with frames of many sizes and alignments and some of C: every stack is the path that led
//! there, as the program has noted it itself.

#[path = "common/captures.rs"]
#[allow(dead_code, reason = "sums by function are not enough here")]
mod captures;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::thread;

use captures::{Way, snapshot};
use heaptally::{Site, TallyAlloc};
use heaptally_tests::{Random, c_frames};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    captures::main(&[("every stack is the path that led there", every_stack_is_the_path_that_led_there)]);
}

const NODES: usize = 2_000;
const DEEPEST: usize = 40;
const CRATE: &str = "captures_property::";
/// Its row has the blocks that are compared.
const LEAF: &str = "captures_property::allocate";

/// The functions on the way, outermost first: their numbers from 1, and then zeros.
type Path = [u8; DEEPEST];
/// Blocks and bytes.
type Charged = (u64, u64);

/// A tree that is being walked. Allocates nothing on the way.
struct Walk {
    random: Random,
    path: Path,
    depth: usize,
    nodes_left: usize,
    charged: Vec<(Path, Charged)>,
}

type Node = fn(&mut Walk);

macro_rules! nodes {
    ($($name:ident $bytes:literal $align:literal),* $(,)?) => {
        const NODES_OF_RUST: &[(&str, Node)] = &[$((stringify!($name), $name)),*];
        $(
            /// A frame with that many bytes, at a multiple of so many.
            #[inline(never)]
            fn $name(walk: &mut Walk) {
                #[repr(align($align))]
                struct Room([u8; $bytes]);
                let mut room = Room([0; $bytes]);
                assert!(black_box(&raw mut room).addr().is_multiple_of($align));
                walk.visit();
                black_box(&mut room.0);
            }
        )*
    };
}

nodes!(
    small 8 8,
    odd 40 16,
    page 4096 16,
    large 20_000 16,
    aligned_32 32 32,
    aligned_64 200 64,
    aligned_128 3000 128,
    aligned_1024 64 1024,
);

impl Walk {
    fn new(seed: u64) -> Self {
        let charged = Vec::with_capacity(NODES);
        Self { random: Random::new(seed), path: [0; DEEPEST], depth: 0, nodes_left: NODES, charged }
    }

    /// A node: blocks of its own, and then its children.
    #[inline(never)]
    fn visit(&mut self) {
        let bytes = 1 + self.random.below(2_000);
        let blocks = 1 + self.random.below(3);
        allocate(blocks, bytes);
        self.charged.push((self.path, (blocks as u64, (blocks * bytes) as u64)));
        let children = if self.depth < DEEPEST { self.random.below(4) } else { 0 };
        for _ in 0..children {
            self.descend();
        }
    }

    fn descend(&mut self) {
        let number = self.random.below(NODES_OF_RUST.len() + c_frames::COUNT);
        let Some(left) = self.nodes_left.checked_sub(1) else { return };
        let function = number.checked_sub(NODES_OF_RUST.len());
        // Those that call more than once do so through another one.
        if function.is_some_and(|function| c_frames::calls(function) > 1) {
            return;
        }
        self.nodes_left = left;
        self.path[self.depth] = number as u8 + 1;
        self.depth += 1;
        match function {
            None => NODES_OF_RUST[number].1(self),
            Some(function) => {
                let bytes = 1 + self.random.below(3_000);
                c_frames::through(function, bytes, &mut || self.visit());
            }
        }
        self.depth -= 1;
        self.path[self.depth] = 0;
    }
}

/// Some blocks, from one place in the code.
#[inline(never)]
fn allocate(blocks: usize, bytes: usize) {
    for _ in 0..blocks {
        drop(black_box(Vec::<u8>::with_capacity(black_box(bytes))));
    }
}

fn every_stack_is_the_path_that_led_there(way: Way) {
    fn walk(seed: u64) -> Vec<(Path, Charged)> {
        let mut walk = Walk::new(seed);
        while walk.nodes_left > 0 {
            walk.descend();
        }
        walk.charged
    }
    heaptally::start(way.config()).unwrap();
    captures::some_alike();
    let other = thread::spawn(|| walk(2));
    let expected = sums(walk(1).into_iter().chain(other.join().unwrap()));
    let snapshot = snapshot(way);
    let sites = snapshot.sites().iter().filter(|site| site.function() == LEAF);
    let captured = sums(sites.map(|site| {
        let counts = site.counts();
        (path_of(site), (counts.allocated_blocks, counts.allocated_bytes))
    }));
    assert!(expected.len() > 1_000, "{} paths", expected.len());
    for (path, charged) in &expected {
        assert_eq!(captured.get(path), Some(charged), "{path:?}");
    }
    assert_eq!(captured.len(), expected.len());
    println!("{} paths", expected.len());
}

fn sums(all: impl Iterator<Item = (Path, Charged)>) -> BTreeMap<Path, Charged> {
    let mut sums = BTreeMap::new();
    for (path, (blocks, bytes)) in all {
        let sum: &mut Charged = sums.entry(path).or_default();
        *sum = (sum.0 + blocks, sum.1 + bytes);
    }
    sums
}

/// The nodes among the functions of a stack.
fn path_of(site: &Site) -> Path {
    let number_of = |function: &str| {
        let of_rust = || NODES_OF_RUST.iter().position(|(name, _)| function.strip_prefix(CRATE) == Some(name));
        let of_c = || (0..c_frames::COUNT).find(|&of_c| c_frames::name(of_c) == function);
        of_rust().or_else(|| Some(NODES_OF_RUST.len() + of_c()?))
    };
    let functions: Vec<&str> = site.frames().flat_map(|frame| frame.lines.iter()).map(|line| &*line.function).collect();
    let mut path = [0; DEEPEST];
    let nodes = functions.into_iter().rev().filter_map(number_of);
    path.iter_mut().zip(nodes).for_each(|(place, number)| *place = number as u8 + 1);
    path
}
