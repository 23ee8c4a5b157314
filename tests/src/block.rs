//! A block of memory with a pattern in it, straight from the global allocator: any size, any alignment, any of the
//! four methods.
//!
//! Used by the workloads on any thread. A block may be freed by another thread than its own. It looks at its bytes
//! whenever it changes hands, so a tag that was written over the program's bytes does not go unseen.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;

/// Bytes looked at, at either end of a block. Tests run unoptimized, where looking at all of them is slow.
const LOOK_BYTES: usize = 64;

/// See the module's head. Freed when dropped.
#[derive(Debug)]
pub struct Block {
    address: NonNull<u8>,
    layout: Layout,
    fill: u8,
}

/// The allocator has refused to resize a block, which is what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

// SAFETY: a block owns its bytes.
unsafe impl Send for Block {}

impl Block {
    /// A block of `size` bytes, at least one, at a multiple of `align`, a power of two.
    pub fn new(size: usize, align: usize) -> Self {
        let layout = layout(size, align);
        // SAFETY: not of zero size.
        Self::filled(unsafe { alloc(layout) }, layout)
    }

    /// The same, from `alloc_zeroed`, and seen to be zero.
    pub fn zeroed(size: usize, align: usize) -> Self {
        let layout = layout(size, align);
        // SAFETY: not of zero size.
        let address = unsafe { alloc_zeroed(layout) };
        if !address.is_null() {
            // SAFETY: a fresh block of that size.
            let bytes = unsafe { std::slice::from_raw_parts(address, size) };
            // 128 bits at a time, and what is left over: fast enough unoptimized.
            // SAFETY: any bits are a number.
            let (head, middle, tail) = unsafe { bytes.align_to::<u128>() };
            assert!(middle.iter().all(|&word| word == 0) && head.iter().chain(tail).all(|&byte| byte == 0));
        }
        Self::filled(address, layout)
    }

    /// Where it is.
    pub fn address(&self) -> usize {
        self.address.addr().get()
    }

    /// Its requested bytes.
    pub fn size(&self) -> usize {
        self.layout.size()
    }

    /// Makes it `new_size` bytes, at least one, and sees that it kept what it held.
    ///
    /// # Errors
    ///
    /// When the allocator has refused. The block is as before.
    pub fn resize(&mut self, new_size: usize) -> Result<(), Refused> {
        let new_layout = layout(new_size, self.layout.align());
        // SAFETY: allocated with `layout`; the new size is not zero and valid for the alignment.
        let address = unsafe { realloc(self.address.as_ptr(), self.layout, new_size) };
        let Some(address) = NonNull::new(address) else {
            self.look(self.size());
            return Err(Refused);
        };
        self.address = address;
        self.look(self.size().min(new_size));
        self.layout = new_layout;
        self.fill();
        Ok(())
    }

    fn filled(address: *mut u8, layout: Layout) -> Self {
        let Some(address) = NonNull::new(address) else { handle_alloc_error(layout) };
        assert!(address.addr().get().is_multiple_of(layout.align()), "{address:?} for {layout:?}");
        let mut block = Self { address, layout, fill: 0 };
        block.fill();
        block
    }

    /// Writes all bytes, with a value that depends on where and how large the block is.
    fn fill(&mut self) {
        self.fill = (self.address() >> 4) as u8 ^ self.size() as u8 ^ 0x5A;
        // SAFETY: the block's own bytes.
        unsafe { self.address.write_bytes(self.fill, self.size()) };
    }

    /// Sees that the first and the last of the first `len` bytes are what was written.
    fn look(&self, len: usize) {
        // SAFETY: the block's own bytes, written by `fill`.
        let bytes = unsafe { std::slice::from_raw_parts(self.address.as_ptr(), len) };
        let (first, last) = (&bytes[..len.min(LOOK_BYTES)], &bytes[len - len.min(LOOK_BYTES)..]);
        assert!(first.iter().chain(last).all(|&byte| byte == self.fill), "{self:?} holds something else");
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.look(self.size());
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.address.as_ptr(), self.layout) };
    }
}

fn layout(size: usize, align: usize) -> Layout {
    assert!(size > 0, "no block of zero bytes");
    Layout::from_size_align(size, align).expect("a power of two, and a size that exists")
}
