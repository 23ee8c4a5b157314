//! What is counted of one stack, or one pseudo-row: blocks and bytes, when its blocks were born, and how many went at once.
//!
//! One cache line. As with [`Line`], a site line has either one writer (`count_*`) or many (`add_*`), and any thread may
//! read at any time.

use core::mem;

use crate::arena::Zeroed;
use crate::counter::{Counter, Line};
use crate::tick::Tick;

/// See the module's head.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct SiteLine {
    /// Blocks and bytes.
    pub line: Line,
    /// Sum of the ticks in which the allocated blocks were born.
    allocated_births: Counter,
    /// The same of the freed ones.
    freed_births: Counter,
    /// Blocks that were the last allocation of the thread that freed them.
    temporaries: Counter,
}

const _: () = assert!(size_of::<SiteLine>() == 64);

// SAFETY: atomic words, zero is "nothing counted", no drop.
unsafe impl Zeroed for SiteLine {}

impl SiteLine {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            line: Line::new(),
            allocated_births: Counter::new(),
            freed_births: Counter::new(),
            temporaries: Counter::new(),
        }
    }

    /// Counts an allocation on a line of the calling thread's own.
    #[inline(always)]
    pub(crate) fn count_allocated(&self, bytes: usize, birth: Tick) {
        self.bump::<{ mem::offset_of!(Self, line.allocated_blocks) }, { mem::offset_of!(Self, allocated_births) }>(
            bytes, birth,
        );
    }

    /// Counts a free on a line of the calling thread's own, of a block born at `birth`.
    #[inline(always)]
    pub(crate) fn count_freed(&self, bytes: usize, birth: Tick) {
        self.bump::<{ mem::offset_of!(Self, line.freed_blocks) }, { mem::offset_of!(Self, freed_births) }>(
            bytes, birth,
        );
    }

    /// Adds one block and `bytes` to the pair of counters at `COUNTS`, and `birth` to the sum at `BIRTHS`, as the only
    /// thread that writes them. One instruction each, as in [`Line::count_allocated`], whose ordering it has.
    #[inline(always)]
    fn bump<const COUNTS: usize, const BIRTHS: usize>(&self, bytes: usize, birth: Tick) {
        #[cfg(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm))))]
        // SAFETY: adds to three live, aligned words that no other thread writes; others read them as atomics.
        unsafe {
            core::arch::asm!(
                "inc qword ptr [{line} + {blocks}]",
                "add qword ptr [{line} + {blocks} + 8], {n}",
                "add qword ptr [{line} + {births}], {birth}",
                line = in(reg) core::ptr::from_ref(self),
                n = in(reg) bytes,
                birth = in(reg) birth.number(),
                blocks = const COUNTS,
                births = const BIRTHS,
                options(nostack),
            )
        };
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, heaptally_no_asm)))))]
        {
            let births = if COUNTS == 0 {
                self.line.count_allocated(bytes);
                &self.allocated_births
            } else {
                self.line.count_freed(bytes);
                &self.freed_births
            };
            births.add_alone(birth.number());
        }
    }

    /// Counts one of the blocks freed as a temporary, on a line of the calling thread's own.
    #[inline(always)]
    pub(crate) fn count_temporary(&self) {
        self.temporaries.bump();
    }

    /// Counts an allocation on a line that other threads write too.
    pub(crate) fn add_allocated(&self, bytes: usize, birth: Tick) {
        self.line.add_allocated(bytes);
        self.allocated_births.add(birth.number());
    }

    /// Counts a free on a line that other threads write too.
    pub(crate) fn add_freed(&self, bytes: usize, birth: Tick) {
        self.line.add_freed(bytes);
        self.freed_births.add(birth.number());
    }

    /// Counts one of the blocks freed as a temporary, on a line that other threads write too.
    pub(crate) fn add_temporary(&self) {
        self.temporaries.add(1);
    }

    /// `[blocks, bytes]` allocated, and the sum of the ticks of their births.
    #[inline]
    pub fn allocated(&self) -> ([u64; 2], u64) {
        (self.line.allocated(), self.allocated_births.get())
    }

    /// `[blocks, bytes]` freed, the sum of the ticks of their births, and how many of them were temporaries.
    #[inline]
    pub fn freed(&self) -> ([u64; 2], u64, u64) {
        // Temporaries first: they are counted after their frees, so there are never more of them.
        let temporaries = self.temporaries.get();
        (self.line.freed(), self.freed_births.get(), temporaries)
    }
}
