//! The shapes of the program `optimizer` over an allocator that the optimizer sees through: what heaptally's precautions
//! are good for.
//!
//! The harness `tests/optimizer.rs` builds and runs it, and expects it to find damaged tags. Prints how many, shape by
//! shape. A shape may also panic for no reason: where the compiler sees a free read behind its block, it takes the code
//! that leads there for unreachable.

use std::panic::catch_unwind;
use std::sync::atomic::Ordering;

use naive::{DAMAGED, Naive};

mod naive;
#[path = "../optimizer/shapes.rs"]
mod shapes;

#[global_allocator]
static ALLOC: Naive = Naive;

const ROUNDS: u64 = 100;

fn main() {
    let mut damaged_shapes = 0;
    for (name, shape) in shapes::ALL {
        let before = DAMAGED.load(Ordering::Relaxed);
        let outcome = catch_unwind(|| (0..ROUNDS).fold(0, |sum: u64, round| sum.wrapping_add(shape(round))));
        let damaged = DAMAGED.load(Ordering::Relaxed) - before;
        match outcome {
            Ok(_) if damaged == 0 => continue,
            Ok(_) => println!("{name}: {damaged} damaged"),
            Err(_) => println!("{name}: broken"),
        }
        damaged_shapes += 1;
    }
    println!("{damaged_shapes} shapes damaged");
}
