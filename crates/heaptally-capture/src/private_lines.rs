//! A thread's own counter lines, by stack id: pages of 64 lines, taken when the thread has met a block of ids often
//! enough.
//!
//! The owning thread looks lines up in the hook and is their only writer; snapshots read them on any thread. A thread
//! that meets a stack only now and then counts on the shared line of the id, so memory is bounded by what threads
//! really use, not by threads times stacks.
//!
//! ```text
//!  top: 512 pointers ─► middle: 512 slots ─► page: 64 lines of 64 bytes
//!       (id bits 23..15)     (bits 14..6)          (bits 5..0)
//!  a slot, as a signed number:  0, then minus the hits, then the page's address
//! ```
//!
//! # Synchronization
//!
//! A page's address is stored with Release after its zeros exist, and read with Acquire by snapshots. A signal
//! handler of the owning thread may race it to the same slot: hence the compare-and-swap.

use crate::arena::{Arena, Zeroed};
use crate::lazy_table::LazyTable;
use crate::site_line::SiteLine;
use crate::stack_id::StackId;
use crate::sync::{AtomicUsize, Ordering};

/// Lines of a page: 4 KiB.
const PAGE_LINES: usize = 64;
const PAGE_BYTES: usize = PAGE_LINES * size_of::<SiteLine>();
const MIDDLE: usize = 512;
const TOP: usize = 512;
const _: () = assert!(TOP * MIDDLE * PAGE_LINES == StackId::LIMIT as usize);
/// Counts on the shared lines of a block of ids before the thread gets a page for it.
const HITS_FOR_A_PAGE: usize = if cfg!(heaptally_loom) { 1 } else { 8 };

type Page = [SiteLine; PAGE_LINES];

/// How much memory all threads together may take for pages, and how much they have taken.
pub struct PageBudget {
    used_bytes: AtomicUsize,
    limit_bytes: AtomicUsize,
}

impl PageBudget {
    /// A budget of nothing.
    pub(crate) const fn new() -> Self {
        Self { used_bytes: AtomicUsize::new(0), limit_bytes: AtomicUsize::new(0) }
    }

    /// Bytes taken for pages so far.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that may be taken.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Changes the limit; pages that exist stay.
    pub fn set_limit_bytes(&self, limit_bytes: usize) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    fn take_page(&self) -> bool {
        let mut used = self.used_bytes.load(Ordering::Relaxed);
        loop {
            if used + PAGE_BYTES > self.limit_bytes() {
                return false;
            }
            match self.used_bytes.compare_exchange_weak(used, used + PAGE_BYTES, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(seen) => used = seen,
            }
        }
    }

    fn return_page(&self) {
        self.used_bytes.fetch_sub(PAGE_BYTES, Ordering::Relaxed);
    }
}

/// See the module's head. Zeroed memory is a directory without pages.
pub(crate) struct PrivateLines {
    slots: LazyTable<AtomicUsize, TOP, MIDDLE>,
}

// SAFETY: null pointers throughout.
unsafe impl Zeroed for PrivateLines {}

impl PrivateLines {
    /// The thread's own line for `id`, or `None` when it counts this one on the shared line.
    #[inline(always)]
    pub(crate) fn line(&self, id: StackId) -> Option<&'static SiteLine> {
        let slot = self.slots.get(id.index() / PAGE_LINES)?;
        // Acquire: pairs with the Release in `meet`.
        let page = page_of(slot.load(Ordering::Acquire))?;
        Some(&page[id.index() % PAGE_LINES])
    }

    /// Notes that the owning thread counts on the shared line of `id`, and takes a page for the ids around it once
    /// that has happened [`HITS_FOR_A_PAGE`] times, memory and `budget` permitting.
    #[cold]
    pub(crate) fn meet(&self, id: StackId, budget: &PageBudget, arena: &Arena) {
        let Some(slot) = self.slots.get_or_map(id.index() / PAGE_LINES, arena) else { return };
        let seen = slot.load(Ordering::Relaxed);
        if page_of(seen).is_some() {
            return;
        }
        let hits = seen.wrapping_neg();
        if hits < HITS_FOR_A_PAGE {
            // A signal handler in between may cost a hit: hits are a hint.
            let _ = slot.compare_exchange(seen, (hits + 1).wrapping_neg(), Ordering::Relaxed, Ordering::Relaxed);
            return;
        }
        // The shared lines will do.
        if arena.is_scarce() || !budget.take_page() {
            return;
        }
        let Some(page) = arena.slice::<SiteLine, PAGE_LINES>() else {
            budget.return_page();
            return;
        };
        let address = core::ptr::from_ref::<Page>(page).expose_provenance();
        // Release: pairs with the Acquire in `line` and `for_each`.
        let _ = slot.compare_exchange(seen, address, Ordering::Release, Ordering::Relaxed);
    }

    /// Every line of every page, with its id, below `issued`.
    pub(crate) fn for_each(&self, issued: u32, mut visit: impl FnMut(StackId, &SiteLine)) {
        for first in (0..issued as usize).step_by(PAGE_LINES) {
            let Some(slot) = self.slots.get(first / PAGE_LINES) else { continue };
            let Some(page) = page_of(slot.load(Ordering::Acquire)) else { continue };
            for (offset, line) in page.iter().enumerate() {
                visit(StackId::new((first + offset) as u32), line);
            }
        }
    }
}

/// The page a slot leads to, if it holds an address and not a number of hits.
#[inline(always)]
fn page_of(slot: usize) -> Option<&'static Page> {
    // PERF: one test for both.
    if slot as isize <= 0 {
        return None;
    }
    // SAFETY: a positive slot is the address of a page from the arena, which lives for ever. Addresses of user memory
    // are positive.
    unsafe { core::ptr::with_exposed_provenance::<Page>(slot).as_ref() }
}
