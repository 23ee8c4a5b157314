//! The allocator's four methods: forward to the inner allocator, count, tag.
//!
//! Run on every thread of the program, for every operation. What each costs while tracking is off is in
//! docs/benchmarks.md.
//!
//! `#[inline(never)]` and [`tag::launder`] belong together: the compiler knows what `__rust_alloc` returns and how
//! large it is, and would fold or drop accesses to the tag behind the block if it saw both sides of one. It also knows
//! `free`, and would leave out what is written to a block just before.
#![allow(unsafe_code, reason = "this is a global allocator")]

use std::alloc::{GlobalAlloc, Layout};
use std::{hint, ptr};

use heaptally_capture::hook::{self, Block, Counted};
use heaptally_capture::{Entry, Head, ThreadState, tag};

use super::thread;
use crate::TallyAlloc;

// SAFETY: clause by clause. *No unwinding*: nothing here panics; the inner allocator's promise is its own. *Layouts
// are right*: the inner allocator is given, at every entry, the same pure function of the program's layout
// (`tag::layout_of`), which has at least the alignment and the size. *Nothing relies on the allocation happening*:
// counts follow calls. `realloc` leaves the block as it was when it fails.
unsafe impl<A: GlobalAlloc> GlobalAlloc for TallyAlloc<A> {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // PERF: two comparisons with what fits an instruction, to two places, or the compiler would join them into six;
        // behind them the inner allocator's own tests of size and alignment are gone, and small blocks need no other test
        // of their size while tracking is off. The ways meet again before the registers are read: a stack has one
        // innermost instruction, whatever the block.
        let size = layout.size();
        let address = 'block: {
            let address = if layout.align() > tag::MIN_ALIGN {
                // SAFETY: the caller's promise.
                unsafe { self.alloc_aligned(layout) }
            } else if tag::is_large(size) {
                // SAFETY: the caller's promise.
                unsafe { self.alloc_large(layout) }
            } else {
                // SAFETY: the caller's promise, for a layout that is not smaller.
                let address = tag::launder(unsafe { self.inner.alloc(tag::layout_of(size, tag::MIN_ALIGN)) });
                // SAFETY: null or a fresh block with room for a tag.
                if unsafe { is_settled(address, size) } {
                    return tag::launder(address);
                }
                break 'block address;
            };
            let address = tag::launder(address);
            // SAFETY: null or a fresh block of that layout.
            if unsafe { is_settled(address, size) } {
                return tag::launder(address);
            }
            // SAFETY: a fresh block of that layout.
            if !unsafe { hook::has_slot(address, size) } {
                let Entry { pc, sp, fp } = Entry::here();
                // SAFETY: the same, and the entry of this method.
                return tag::launder(unsafe { count_allocated_slow(address, size, pc, sp, fp) });
            }
            address
        };
        let Entry { pc, sp, fp } = Entry::here();
        // SAFETY: a fresh block of that layout with a slot, and the entry of this method. The launder afterwards keeps
        // its frame on the stack: see `Entry::here`.
        tag::launder(unsafe { count_allocated_tracked(address, size, pc, sp, fp, thread::head()) })
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(inner) = tag::tagged_layout(layout.size(), layout.align()) else {
            return ptr::null_mut();
        };
        // SAFETY: the caller's promise, for a layout that is not smaller.
        let address = tag::launder(unsafe { self.inner.alloc_zeroed(inner) });
        // SAFETY: null or a fresh block of `inner`.
        if unsafe { is_settled(address, layout.size()) } {
            return tag::launder(address);
        }
        let Entry { pc, sp, fp } = Entry::here();
        // SAFETY: a fresh block of `inner`, and the entry of this method.
        tag::launder(unsafe {
            if hook::has_slot(address, layout.size()) {
                count_allocated_tracked(address, layout.size(), pc, sp, fp, thread::head())
            } else {
                count_allocated_slow(address, layout.size(), pc, sp, fp)
            }
        })
    }

    #[inline(never)]
    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        let address = tag::launder(address);
        let head = thread::head();
        if tag::is_large(layout.size()) {
            // SAFETY: the caller's promise.
            return unsafe { self.dealloc_large(address, layout, head) };
        }
        // SAFETY: the block is the caller's until the inner allocator has it back; this thread's head.
        if unsafe { hook::freed_off(head, address, layout.size()) } {
            // SAFETY: the block was allocated with this layout.
            unsafe { self.inner.dealloc(tag::launder(address), tag::layout_of(layout.size(), layout.align())) }
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.dealloc_tracked(address, layout, head) }
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let old = Block { address: tag::launder(address), size: layout.size() };
        // SAFETY: the block was allocated with this layout.
        let inner = unsafe { tag::layout_of(layout.size(), layout.align()) };
        let Some(new_inner) = tag::tagged_layout(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        // Before the inner allocator has the block: afterwards another thread may own its bytes, and its slot.
        // SAFETY: the block is the caller's.
        let origin = unsafe { hook::take_origin(old) };
        // SAFETY: the block was allocated with `inner`; the new size is not zero and valid for the alignment.
        let new_address = tag::launder(unsafe { self.inner.realloc(old.address, inner, new_inner.size()) });
        if new_address.is_null() {
            // SAFETY: the block is what it was, the caller's.
            unsafe { hook::put_back_origin(old, origin) };
            return new_address;
        }
        let entry = Entry::here();
        let (thread, new) = (thread::current(entry), Block { address: new_address, size: new_size });
        hook::freed(thread, old, origin, entry.sp);
        // SAFETY: a fresh block, with room for a tag if it is small, and the entry of this method.
        unsafe { hook::allocated(thread, new, entry) };
        tag::launder(new_address)
    }
}

impl<A: GlobalAlloc> TallyAlloc<A> {
    /// The inner allocator's part of `alloc` for large blocks.
    ///
    /// # Safety
    ///
    /// As for `alloc`; the block is large, its alignment at most [`tag::MIN_ALIGN`].
    #[inline]
    unsafe fn alloc_large(&self, layout: Layout) -> *mut u8 {
        if layout.size() > i32::MAX as usize {
            // SAFETY: the caller's promise.
            return unsafe { self.alloc_aligned(layout) };
        }
        // SAFETY: the caller's promise.
        unsafe { self.inner.alloc(tag::layout_of(layout.size(), tag::MIN_ALIGN)) }
    }

    /// The same for alignments above [`tag::MIN_ALIGN`].
    ///
    /// # Safety
    ///
    /// As for `alloc`.
    #[inline(never)]
    unsafe fn alloc_aligned(&self, layout: Layout) -> *mut u8 {
        match tag::tagged_layout(layout.size(), layout.align()) {
            // SAFETY: the caller's promise, for a layout that is not smaller.
            Some(inner) => unsafe { self.inner.alloc(inner) },
            None => ptr::null_mut(),
        }
    }

    /// `dealloc` of a large block.
    ///
    /// # Safety
    ///
    /// As for `dealloc`; the block is large.
    #[inline(never)]
    unsafe fn dealloc_large(&self, address: *mut u8, layout: Layout, head: &'static Head) {
        // SAFETY: the caller's promise.
        unsafe { hint::assert_unchecked(tag::is_large(layout.size())) };
        // SAFETY: the block is the caller's until the inner allocator has it back, which is given this layout.
        unsafe {
            if hook::freed_off(head, address, layout.size()) {
                self.inner.dealloc(tag::launder(address), tag::layout_of(layout.size(), layout.align()));
            } else {
                self.dealloc_counted(address, layout, head, stack_pointer());
            }
        }
    }

    /// `dealloc` of a small block, not on the short path.
    ///
    /// # Safety
    ///
    /// As for `dealloc`; the block is small.
    #[inline(never)]
    unsafe fn dealloc_tracked(&self, address: *mut u8, layout: Layout, head: &'static Head) {
        // SAFETY: the caller's promise.
        unsafe { hint::assert_unchecked(!tag::is_large(layout.size())) };
        // SAFETY: the caller's promise.
        unsafe { self.dealloc_counted(address, layout, head, stack_pointer()) };
    }

    /// The rest of `dealloc`, of a thread that is not on the short path.
    ///
    /// # Safety
    ///
    /// As for `dealloc`; `sp` is an address in the caller's frame.
    #[inline(always)]
    unsafe fn dealloc_counted(&self, address: *mut u8, layout: Layout, head: &'static Head, sp: usize) {
        let block = Block { address, size: layout.size() };
        // SAFETY: the block is the caller's until the inner allocator has it back, which is given this layout; the state
        // is this thread's.
        unsafe {
            let Some(state) = thread::marked(head) else { return self.dealloc_slow(address, layout) };
            match hook::freed_tracked::<false>(state, block, sp) {
                Counted::Whole => {
                    self.inner.dealloc(tag::launder(address), tag::layout_of(layout.size(), layout.align()));
                }
                Counted::ButTold => {
                    self.dealloc_told(address, layout, state);
                    keep_frame();
                }
                Counted::Not => self.dealloc_old(address, layout, state),
            }
        }
    }

    /// `dealloc` of a block that is older than a tick, perhaps.
    ///
    /// # Safety
    ///
    /// As for `dealloc`; the state is the calling thread's.
    #[cold]
    #[inline(never)]
    unsafe fn dealloc_old(&self, address: *mut u8, layout: Layout, state: &'static ThreadState) {
        let block = Block { address, size: layout.size() };
        // SAFETY: as in `dealloc_counted`.
        unsafe {
            match hook::freed_tracked::<true>(state, block, stack_pointer()) {
                Counted::Whole => {
                    self.inner.dealloc(tag::launder(address), tag::layout_of(layout.size(), layout.align()));
                }
                Counted::ButTold => {
                    self.dealloc_told(address, layout, state);
                    keep_frame();
                }
                Counted::Not => self.dealloc_slow(address, layout),
            }
        }
    }

    /// The end of `dealloc` of a block that is counted, after which the thread has something to tell.
    ///
    /// # Safety
    ///
    /// As for `dealloc`; the operation is handed over by the hook, and the state is the calling thread's.
    #[cold]
    #[inline(never)]
    unsafe fn dealloc_told(&self, address: *mut u8, layout: Layout, state: &'static ThreadState) {
        // SAFETY: the caller's; the block was allocated with this layout.
        unsafe {
            let address = hook::tell_elsewhere(state, address);
            self.inner.dealloc(tag::launder(address), tag::layout_of(layout.size(), layout.align()));
        }
    }

    /// # Safety
    ///
    /// As for `dealloc`.
    #[cold]
    #[inline(never)]
    unsafe fn dealloc_slow(&self, address: *mut u8, layout: Layout) {
        let block = Block { address, size: layout.size() };
        let entry = Entry::here();
        // SAFETY: the block is the caller's.
        let origin = unsafe { hook::take_origin(block) };
        hook::freed(thread::current(entry), block, origin, entry.sp);
        // SAFETY: the block was allocated with this layout.
        unsafe { self.inner.dealloc(tag::launder(address), tag::layout_of(layout.size(), layout.align())) };
    }
}

/// Whether nothing more is to be done: there is no block, or tracking is off and the block counted and tagged.
///
/// # Safety
///
/// `address` is null, or a fresh block of the caller's that was allocated with `tag::tagged_layout`.
#[inline]
unsafe fn is_settled(address: *mut u8, size: usize) -> bool {
    if address.is_null() {
        return true;
    }
    let head = thread::head();
    // SAFETY: the caller's block and this thread's head.
    head.is_off() && unsafe { hook::allocated_off(head, address, size) }
}

/// # Safety
///
/// As for [`hook::allocated`]; the block has a slot for its tag.
#[inline(never)]
unsafe fn count_allocated_tracked(
    address: *mut u8,
    size: usize,
    pc: usize,
    sp: usize,
    fp: usize,
    head: &'static Head,
) -> *mut u8 {
    // PERF: one by one, so that they come in registers, and both calls at the end are jumps.
    // SAFETY: the caller's.
    unsafe {
        if let Some(state) = thread::tracked(head)
            && let Some(address) = hook::allocated_tracked(state, Block { address, size }, Entry { pc, sp, fp })
        {
            return address;
        }
        count_allocated_paused(address, size, pc, sp, fp, head)
    }
}

/// The same of a thread that is not tracked.
///
/// # Safety
///
/// As for [`count_allocated_tracked`].
#[inline(never)]
unsafe fn count_allocated_paused(
    address: *mut u8,
    size: usize,
    pc: usize,
    sp: usize,
    fp: usize,
    head: &'static Head,
) -> *mut u8 {
    // SAFETY: the caller's.
    unsafe {
        if let Some(state) = thread::paused(head)
            && let Some(address) = hook::allocated_paused(state, Block { address, size }, sp)
        {
            return address;
        }
        count_allocated_slow(address, size, pc, sp, fp)
    }
}

/// # Safety
///
/// As for [`hook::allocated`].
#[cold]
#[inline(never)]
unsafe fn count_allocated_slow(address: *mut u8, size: usize, pc: usize, sp: usize, fp: usize) -> *mut u8 {
    let entry = Entry { pc, sp, fp };
    // SAFETY: the caller's.
    unsafe { hook::allocated(thread::current(entry), Block { address, size }, entry) };
    address
}

/// After a call by the function whose [`stack_pointer`] marks an operation that the call goes on with: keeps its frame on the
/// stack meanwhile. A frame that took its place could lie above the mark, and a handler would take the operation for one
/// that was left by a jump.
#[inline(always)]
fn keep_frame() {
    // SAFETY: no instruction at all.
    unsafe { std::arch::asm!("", options(nomem, nostack, preserves_flags)) };
}

/// The stack pointer of the calling function, as in [`Entry::here`].
#[inline(always)]
fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: copies a register.
    unsafe { std::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}
