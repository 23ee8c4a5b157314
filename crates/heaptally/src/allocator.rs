//! The type a program declares as its global allocator. How it counts is the engine's affair (`engine/forward.rs`).

use std::alloc::System;

use crate::Totals;
use crate::engine;

/// A global allocator that counts, and hands the work to the allocator inside it.
///
/// Totals are exact from the first allocation of the process, at the price of a few instructions an operation. Once
/// [`start`](crate::start) was called, every allocation is charged to its call stack.
///
/// The statistics are the process's: wrap one allocator, once. (Two around each other, or one around an allocator that
/// takes its memory from the other, count a block twice; and one of 256 bytes or more has one tag for both, so that the
/// second free of it is unknown.) The inner allocator is asked for eight bytes more than the program if that wants less
/// than 256, and for an alignment of eight at least.
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
///
/// let before = ALLOC.live_bytes();
/// let kept = vec![0_u8; 1000];
/// assert_eq!(ALLOC.live_bytes() - before, 1000);
/// # drop(kept);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TallyAlloc<A = System> {
    pub(crate) inner: A,
}

impl TallyAlloc {
    /// Around the system's allocator.
    pub const fn system() -> Self {
        Self { inner: System }
    }
}

impl<A> TallyAlloc<A> {
    /// Around `inner`.
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }

    /// Everything allocated and freed so far, by all threads. Allocates nothing; exact for the moment at which each
    /// counter was read.
    pub fn totals(&self) -> Totals {
        engine::totals()
    }

    /// Bytes allocated and not yet freed, as the program asked for them. Allocates nothing.
    pub fn live_bytes(&self) -> u64 {
        engine::totals().live_bytes()
    }
}
