//! A block asked for by its layout, with any size and alignment: what no safe type has.
//!
//! Used by the measurement of memory only, on its own thread.

#![allow(unsafe_code)]

use std::alloc::{self, Layout};
use std::ptr::NonNull;

/// The page size that a block is touched by: x86-64's, the least there is.
const PAGE_BYTES: usize = 4096;

pub(crate) struct Block {
    start: NonNull<u8>,
    /// Its size is not zero.
    layout: Layout,
}

/// What a new block holds.
#[derive(Clone, Copy)]
pub(crate) enum Contents {
    Anything,
    Zeros,
}

impl Block {
    /// # Panics
    ///
    /// If the layout has no size.
    pub(crate) fn new(layout: Layout, contents: Contents) -> Self {
        assert_ne!(layout.size(), 0, "a block has bytes");
        // SAFETY: the size is not zero.
        let start = unsafe {
            match contents {
                Contents::Anything => alloc::alloc(layout),
                Contents::Zeros => alloc::alloc_zeroed(layout),
            }
        };
        let start = NonNull::new(start).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Self { start, layout }
    }

    pub(crate) fn size(&self) -> usize {
        self.layout.size()
    }

    /// Makes it twice as large, as a full vector does.
    pub(crate) fn double(&mut self) {
        let layout = Layout::from_size_align(2 * self.size(), self.layout.align()).expect("a layout twice as large");
        // SAFETY: the block was allocated with this layout, and the new size is neither zero nor too large.
        let start = unsafe { alloc::realloc(self.start.as_ptr(), self.layout, layout.size()) };
        self.start = NonNull::new(start).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        self.layout = layout;
    }

    /// Writes one byte in each of its first `bytes` bytes' pages, and the last of these bytes.
    pub(crate) fn touch(&mut self, bytes: usize) {
        let bytes = bytes.min(self.size());
        for offset in (0..bytes).step_by(PAGE_BYTES).chain(bytes.checked_sub(1)) {
            // SAFETY: inside the block, which is ours alone. Volatile, or nobody would have to write what nobody reads.
            unsafe { self.start.add(offset).write_volatile(1) };
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, or grown to it.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}
