//! One 64-bit counter, and the line of four that everything is counted in.
//!
//! A line has either *one writer* (a thread's own lines: `count_*`) or *many* (the shared lines: `add_*`), never
//! both. Any thread may read at any time. Nothing here allocates, saturates or wraps in practice (2^64 bytes is 584
//! years at one GB/s).
//!
//! # Synchronization
//!
//! Every word is stored with Release and read with Acquire. A snapshot that sees a free counted therefore sees
//! everything that happened before it, the count of its allocation above all (`docs/memory-ordering.md`, "Freed
//! before allocated").

use crate::arena::Zeroed;
use crate::sync::{AtomicU64, Ordering};

/// A cumulative counter: blocks or bytes.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`, while other threads may do so too.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        // Release: pairs with the Acquire in `get`.
        self.0.fetch_add(n, Ordering::Release);
    }

    /// Adds one, as the only thread that writes it. One instruction, for the thread's own signal handlers.
    #[inline(always)]
    pub(crate) fn bump(&self) {
        // Release: as in `Line::bump`.
        #[cfg(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm))))]
        // SAFETY: adds to a live, aligned word that no other thread writes; others read it as an atomic.
        unsafe {
            core::arch::asm!("inc qword ptr [{word}]", word = in(reg) self.0.as_ptr(), options(nostack))
        };
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm)))))]
        self.add_alone(1);
    }

    /// Adds `n`, as the only thread that writes it, where no instruction of ours does.
    #[cfg(not(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm)))))]
    pub(crate) fn add_alone(&self, n: u64) {
        // A load and a store, as the instruction is for other threads. Neither in a model nor under ThreadSanitizer is there a
        // handler that interrupts it.
        #[cfg(heaptally_no_asm)]
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Release);
        #[cfg(not(heaptally_no_asm))]
        self.add(n);
    }

    /// The value now.
    #[inline]
    pub fn get(&self) -> u64 {
        // Acquire: pairs with the Release of `Line::bump`, `add` and `set`.
        self.0.load(Ordering::Acquire)
    }
}

/// Blocks and bytes, allocated and freed, of one stack or in all.
#[derive(Debug, Default)]
#[repr(C, align(32))]
pub struct Line {
    /// Blocks allocated.
    pub allocated_blocks: Counter,
    /// Bytes the program asked for in them.
    pub allocated_bytes: Counter,
    /// Blocks freed.
    pub freed_blocks: Counter,
    /// Bytes the program had asked for in them.
    pub freed_bytes: Counter,
}

const _: () = assert!(size_of::<Line>() == 32);

// SAFETY: four atomic words, zero is "nothing counted", no drop.
unsafe impl Zeroed for Line {}

impl Line {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            allocated_blocks: Counter::new(),
            allocated_bytes: Counter::new(),
            freed_blocks: Counter::new(),
            freed_bytes: Counter::new(),
        }
    }

    /// Counts an allocation on a line of the calling thread's own.
    #[inline(always)]
    pub fn count_allocated(&self, bytes: usize) {
        self.bump::<0>(bytes);
    }

    /// Counts a free on a line of the calling thread's own.
    #[inline(always)]
    pub fn count_freed(&self, bytes: usize) {
        self.bump::<16>(bytes);
    }

    /// Adds one block and `bytes` to the pair of counters at `OFFSET`, as the only thread that writes them.
    ///
    /// One instruction each, so that a signal handler of the same thread finds an addition done or not begun, and can
    /// count in between.
    #[inline(always)]
    fn bump<const OFFSET: usize>(&self, bytes: usize) {
        const {
            assert!(
                core::mem::offset_of!(Line, allocated_blocks) == 0 && core::mem::offset_of!(Line, allocated_bytes) == 8
            );
            assert!(core::mem::offset_of!(Line, freed_blocks) == 16 && core::mem::offset_of!(Line, freed_bytes) == 24);
        }
        // PERF: not locked instructions, 1 cycle against about 18.
        // Release: x86 stores are, and the compiler moves no memory access across the block. Pairs with the Acquire
        // in `get`.
        #[cfg(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm))))]
        // SAFETY: adds to two live, aligned words that no other thread writes; others read them as atomics.
        unsafe {
            core::arch::asm!(
                "inc qword ptr [{line} + {blocks}]",
                "add qword ptr [{line} + {bytes}], {n}",
                line = in(reg) core::ptr::from_ref(self),
                n = in(reg) bytes,
                blocks = const OFFSET,
                bytes = const OFFSET + 8,
                options(nostack),
            )
        };
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm)))))]
        {
            let [blocks, sum] = match OFFSET {
                0 => [&self.allocated_blocks, &self.allocated_bytes],
                _ => [&self.freed_blocks, &self.freed_bytes],
            };
            blocks.add_alone(1);
            sum.add_alone(bytes as u64);
        }
    }

    /// Counts an allocation on a line that other threads write too.
    pub fn add_allocated(&self, bytes: usize) {
        self.allocated_blocks.add(1);
        self.allocated_bytes.add(bytes as u64);
    }

    /// Counts a free on a line that other threads write too.
    pub fn add_freed(&self, bytes: usize) {
        self.freed_blocks.add(1);
        self.freed_bytes.add(bytes as u64);
    }

    /// Adds a correction, each word modulo 2^64, to a line that other threads write too.
    pub fn add_words(&self, words: [u64; 4]) {
        for (counter, word) in self.counters().into_iter().zip(words) {
            counter.add(word);
        }
    }

    /// `[blocks, bytes]` allocated.
    #[inline]
    pub fn allocated(&self) -> [u64; 2] {
        [self.allocated_blocks.get(), self.allocated_bytes.get()]
    }

    /// `[blocks, bytes]` freed.
    #[inline]
    pub fn freed(&self) -> [u64; 2] {
        [self.freed_blocks.get(), self.freed_bytes.get()]
    }

    /// All four: `[allocated blocks, allocated bytes, freed blocks, freed bytes]`. Freed is read first.
    pub(crate) fn words(&self) -> [u64; 4] {
        let [freed_blocks, freed_bytes] = self.freed();
        let [allocated_blocks, allocated_bytes] = self.allocated();
        [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes]
    }

    fn counters(&self) -> [&Counter; 4] {
        [&self.allocated_blocks, &self.allocated_bytes, &self.freed_blocks, &self.freed_bytes]
    }
}
