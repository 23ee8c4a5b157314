//! Call stacks by number: one of two functions for each of its digits to the base two.

use std::hint::black_box;

/// Calls `leaf` on a stack of its own for each `path`.
#[inline(never)]
pub(crate) fn at<R>(path: u64, leaf: &mut dyn FnMut() -> R) -> R {
    let result = match path {
        0 => leaf(),
        path if path % 2 == 0 => at(path / 2, leaf),
        path => odd(path / 2, leaf),
    };
    // Something to be done after the calls, so that they are no jumps.
    black_box(path);
    result
}

#[inline(never)]
fn odd<R>(path: u64, leaf: &mut dyn FnMut() -> R) -> R {
    let result = at(path, leaf);
    black_box(!path);
    result
}
