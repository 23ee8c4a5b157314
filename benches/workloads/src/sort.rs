//! `sort`: names sorted by a key that is allocated for each, on a work-stealing pool.
//!
//! Stands for data-parallel programs: the stack of a piece of work is that of rayon's splitting, joining and stealing
//! above it, and which thread has which piece is another every time. Copies of the names are made by the pool and freed
//! by it, each by whichever thread has it then.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::work::Work;
use crate::xorshift::Xorshift;

const NAMES: usize = 20_000;
/// On every machine, so that it is the same work; as many as the least machine has that this is of interest for.
const THREADS: usize = 2;

pub(crate) struct Sort {
    names: Vec<String>,
    /// From `begin`, when tracking has started.
    pool: Option<ThreadPool>,
}

impl Sort {
    pub(crate) fn new() -> Self {
        let mut random = Xorshift::new(4);
        Self { names: (0..NAMES).map(|_| name(&mut random)).collect(), pool: None }
    }
}

impl Work for Sort {
    fn operation(&self) -> &'static str {
        "name"
    }

    fn operations_a_lap(&self) -> u64 {
        NAMES as u64
    }

    fn lap(&mut self) -> u64 {
        let pool = self.pool.as_ref().expect("begun");
        pool.install(|| {
            let mut names: Vec<String> = self.names.par_iter().cloned().collect();
            names.par_sort_by_cached_key(|name| name.to_lowercase());
            let sum = order(&names);
            names.into_par_iter().for_each(drop);
            sum
        })
    }

    fn begin(&mut self) {
        let pool = ThreadPoolBuilder::new().num_threads(THREADS).build();
        self.pool = Some(pool.expect("two threads can be spawned"));
    }
}

/// Depends on the place of every name; cheap beside the sort.
fn order(names: &[String]) -> u64 {
    let last = |name: &String| name.bytes().next_back().map_or(0, u64::from);
    names.iter().fold(0, |sum: u64, name| sum.wrapping_mul(31).wrapping_add(last(name)))
}

/// Of 8 to 39 letters, some of them large, so that the key is not the name.
fn name(random: &mut Xorshift) -> String {
    let letter = |random: &mut Xorshift| {
        let letter = char::from(b'a' + random.below(26) as u8);
        if random.below(4) == 0 { letter.to_ascii_uppercase() } else { letter }
    };
    let letters = 8 + random.below(32);
    (0..letters).map(|_| letter(random)).collect()
}
