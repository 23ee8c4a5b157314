//! The configured module: functions that stay functions in every profile.
//!
//! Submodules have those that the optimizer inlines and those that run on a runtime. The sums are in the comment of
//! each function.

pub(crate) mod inlined;
pub(crate) mod tasks;

use std::hint::black_box;

use crate::app_utils;
use crate::keep::{block, keep, keep_blocks};

/// 3 blocks of 100 bytes.
#[inline(never)]
pub(crate) fn plain() {
    keep_blocks::<100>(3);
}

/// 1 block of 16 values a call: 16 bytes for `u8`, 128 for `u64`.
#[inline(never)]
pub(crate) fn generic<T>() {
    keep(Vec::<T>::with_capacity(black_box(16)));
}

/// A generic type with an allocating method.
pub(crate) struct Cache<T> {
    values: Vec<T>,
}

impl<T> Cache<T> {
    /// Allocates nothing.
    pub(crate) fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// With five values of 4 bytes: 16 bytes for the first four, then 32, and the 16 are freed.
    #[inline(never)]
    pub(crate) fn insert(&mut self, value: T) {
        self.values.push(value);
    }
}

/// A closure that is called twice, 1 block of 60 bytes each; the function around it allocates nothing.
#[inline(never)]
pub(crate) fn closure() {
    let closure = |blocks| keep_blocks::<60>(blocks);
    let allocate = black_box(&closure as &dyn Fn(usize));
    allocate(1);
    allocate(1);
    black_box(());
}

/// A type of the module, with methods by traits of the module and of others.
pub(crate) struct Widget {
    _body: Box<[u8; 52]>,
}

impl Default for Widget {
    /// 1 block of 52 bytes.
    #[inline(never)]
    fn default() -> Self {
        Self { _body: block() }
    }
}

/// A trait of the module.
pub(crate) trait Build {
    /// Left to the type.
    fn build(&self);

    /// 1 block of 132 bytes, for every type that does not say otherwise.
    #[inline(never)]
    fn build_again(&self) {
        keep_blocks::<132>(1);
    }
}

impl Build for Widget {
    /// 2 blocks of 84 bytes.
    #[inline(never)]
    fn build(&self) {
        keep_blocks::<84>(2);
    }
}

/// A trait of the module for a type that is not of it.
pub(crate) trait Fill {
    /// Makes room.
    fn fill(&mut self);
}

impl Fill for Vec<u8> {
    /// 1 block of 236 bytes, when empty before.
    #[inline(never)]
    fn fill(&mut self) {
        self.reserve_exact(black_box(236));
    }
}

/// 5 blocks of 40 bytes, of which two are freed.
#[inline(never)]
pub(crate) fn frees_two_of_five() {
    keep_blocks::<40>(3);
    drop(block::<40>());
    drop(block::<40>());
}

/// 4 blocks of 72 bytes, which another module frees.
#[inline(never)]
pub(crate) fn hands_over() -> [Box<[u8; 72]>; 4] {
    [block(), block(), block(), block()]
}

/// The 2 blocks of 36 bytes that a module which is not configured allocates for this function.
#[inline(never)]
pub(crate) fn delegates() {
    app_utils::lines();
    black_box(());
}
