//! Functions of the configured module that the optimizer inlines, and the functions that they are inlined into.
//!
//! With inlined frames in the debug information each has a row of its own; without them its blocks are charged to the
//! function that contains the code.

use std::hint::black_box;

use super::Widget;
use crate::keep::{keep, keep_blocks};

/// 1 block of 208 bytes, beside those of [`pushes`].
#[inline(never)]
pub(crate) fn outer() {
    keep_blocks::<208>(1);
    let mut values = Vec::new();
    pushes(&mut values);
    keep(values);
}

/// Five values of 8 bytes: 32 bytes for the first four, then 64, and the 32 are freed.
#[inline(always)]
fn pushes(values: &mut Vec<u64>) {
    for value in 0..5 {
        values.push(black_box(value));
    }
}

/// 1 block of 120 bytes, beside those of [`middle`].
#[inline(never)]
pub(crate) fn outermost() {
    keep_blocks::<120>(1);
    middle();
}

/// 1 block of 88 bytes, beside those of [`innermost`].
#[inline(always)]
fn middle() {
    keep_blocks::<88>(1);
    innermost();
}

/// 2 blocks of 56 bytes.
#[inline(always)]
fn innermost() {
    keep_blocks::<56>(2);
}

/// 1 block of 152 bytes, beside those of its closure: 3 blocks of 64 bytes.
#[inline(never)]
pub(crate) fn maps() {
    keep_blocks::<152>(1);
    each(3, |_| keep_blocks::<64>(1));
}

/// Allocates nothing itself. The only caller of what it is given, which is therefore inlined too.
#[inline(always)]
fn each(times: usize, call: impl Fn(usize)) {
    for time in 0..black_box(times) {
        call(time);
    }
}

trait Describe {
    fn describe(&self) -> String;
}

impl Describe for Widget {
    /// 1 block of 68 bytes.
    #[inline(always)]
    fn describe(&self) -> String {
        String::with_capacity(black_box(68))
    }
}

/// 1 block of 28 bytes, beside that of [`Describe::describe`] for a widget which another function allocates.
#[inline(never)]
pub(crate) fn describes(widget: &Widget) {
    keep_blocks::<28>(1);
    keep(widget.describe());
}

/// 2 blocks of 500 bytes, inlined into a function that belongs to no configured module.
#[inline(always)]
pub(crate) fn stray() {
    keep_blocks::<500>(2);
}
