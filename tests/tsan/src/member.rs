//! A thread as the hook knows it, and what it does with blocks: the calls of `crates/heaptally/src/engine/forward.rs` and
//! `thread.rs`, in their order.

use std::alloc::Layout;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use heaptally_capture::hook::{self, Block, Counted, Thread};
use heaptally_capture::{Entry, PROCESS, ThreadState, page_map, tag};

use crate::inner;

/// What all threads have allocated and freed, counted here.
pub(crate) static COUNTED: Sums = Sums([const { AtomicU64::new(0) }; 4]);

/// Blocks and bytes, allocated and freed.
pub(crate) struct Sums([AtomicU64; 4]);

impl Sums {
    fn add(&self, first: usize, bytes: usize) {
        self.0[first].fetch_add(1, Ordering::Relaxed);
        self.0[first + 1].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// In the order of the totals.
    pub(crate) fn words(&self) -> [u64; 4] {
        self.0.each_ref().map(|word| word.load(Ordering::Relaxed))
    }
}

/// A block, and whose it is.
#[derive(Clone, Copy)]
pub(crate) struct Held(Block);

impl Held {
    const ADDRESS_BITS: u32 = 48;

    /// Its address and size in one word: what is handed over with it is the block alone.
    pub(crate) fn word(self) -> u64 {
        self.0.address.expose_provenance() as u64 | (self.0.size as u64) << Self::ADDRESS_BITS
    }

    pub(crate) fn from_word(word: u64) -> Option<Self> {
        let address = word & ((1 << Self::ADDRESS_BITS) - 1);
        let size = (word >> Self::ADDRESS_BITS) as usize;
        (word != 0).then(|| Self(Block { address: std::ptr::with_exposed_provenance_mut(address as usize), size }))
    }
}

/// See the module's head.
#[derive(Clone, Copy)]
pub(crate) struct Member(Thread);

impl Member {
    /// A thread with a state.
    pub(crate) fn begin() -> Self {
        page_map::prepare();
        let state = PROCESS.registry.acquire(&PROCESS.arena, &PROCESS.mode).expect("memory");
        PROCESS.registry.own(state);
        Self(Thread::Own(state))
    }

    /// A thread that got none.
    pub(crate) fn stateless() -> Self {
        Self(Thread::Stateless)
    }

    /// Hands the state over.
    pub(crate) fn end(self) {
        if let Thread::Own(state) = self.0 {
            PROCESS.registry.release(state, &PROCESS.arena);
        }
    }

    /// What tells its state from others.
    pub(crate) fn state(self) -> Option<usize> {
        let Thread::Own(own) = self.0 else { return None };
        PROCESS.registry.iter().position(|state| std::ptr::eq(state, own))
    }

    /// A block of `size` bytes.
    #[inline(never)]
    pub(crate) fn allocate(self, size: usize) -> Held {
        // SAFETY: not of zero size.
        let address = unsafe { inner::allocate(layout(size)) };
        assert!(!address.is_null());
        COUNTED.add(0, size);
        let block = Block { address, size };
        // SAFETY: a fresh block of that layout, and the entry of this function, which does something after the call.
        unsafe { self.count_allocated(block, Entry::here()) };
        black_box(Held(block))
    }

    /// # Safety
    ///
    /// As for [`hook::allocated`].
    #[inline(never)]
    unsafe fn count_allocated(self, block: Block, entry: Entry) {
        let Block { address, size } = block;
        // SAFETY: the caller's, in all; the state is this thread's.
        unsafe {
            let is_counted = match self.own() {
                Some(state) if state.head.is_off() => hook::allocated_off(&state.head, address, size),
                Some(_) if !hook::has_slot(address, size) => false,
                Some(state) if state.head.is_tracked() => hook::allocated_tracked(state, block, entry).is_some(),
                Some(state) if state.head.is_paused() => hook::allocated_paused(state, block, entry.sp).is_some(),
                _ => false,
            };
            if !is_counted {
                hook::allocated(self.0, block, entry);
            }
        }
    }

    /// Frees a block, whoever has allocated it.
    #[inline(never)]
    pub(crate) fn free(self, held: Held) {
        let block = held.0;
        COUNTED.add(2, block.size);
        let entry = Entry::here();
        // SAFETY: the block is the caller's, and the state this thread's. What was handed over is ended at once.
        unsafe {
            if !self.own().is_some_and(|state| count_freed(state, block, entry.sp)) {
                let origin = hook::take_origin(block);
                hook::freed(self.0, block, origin, entry.sp);
            }
            inner::free(block.address, layout(block.size));
        }
    }

    fn own(self) -> Option<&'static ThreadState> {
        match self.0 {
            Thread::Own(state) => Some(state),
            _ => None,
        }
    }
}

/// The short ways of a free. False, and nothing done, when the block takes none of them.
///
/// # Safety
///
/// The block is the caller's, and the state the calling thread's.
unsafe fn count_freed(state: &'static ThreadState, block: Block, sp: usize) -> bool {
    // SAFETY: the caller's; what was handed over is taken up at once.
    unsafe {
        if hook::freed_off(&state.head, block.address, block.size) {
            return true;
        }
        if !state.head.is_marked() {
            return false;
        }
        let mut counted = hook::freed_tracked::<false>(state, block, sp);
        if counted == Counted::Not {
            counted = hook::freed_tracked::<true>(state, block, sp);
        }
        if counted == Counted::ButTold {
            hook::tell_elsewhere(state, block.address);
        }
        counted != Counted::Not
    }
}

fn layout(size: usize) -> Layout {
    tag::tagged_layout(size, tag::MIN_ALIGN).expect("a size below 2^61")
}
