//! What the service knows of its own blocks: each function that makes any has an account, and each block knows its own.
//!
//! Called on every thread of the service, while its gate is open; read while it is shut. Knows nothing of heaptally but
//! the four counters.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use heaptally::Counts;
use heaptally_tests::Block;

/// Whether tracking is paused, in which case a block is in no account. Written while the gate is shut.
static PAUSED: AtomicBool = AtomicBool::new(false);

/// Says from when on blocks are in no account, or in their accounts again. The caller has shut the gate.
pub(crate) fn set_paused(paused: bool) {
    // Relaxed: the gate orders it.
    PAUSED.store(paused, Ordering::Relaxed);
}

/// What one function has allocated, and what was freed of it.
pub(crate) struct Account {
    /// As heaptally names it.
    pub(crate) function: &'static str,
    allocated_blocks: AtomicU64,
    allocated_bytes: AtomicU64,
    freed_blocks: AtomicU64,
    freed_bytes: AtomicU64,
}

impl Account {
    pub(crate) const fn new(function: &'static str) -> Self {
        let [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes] = [const { AtomicU64::new(0) }; 4];
        Self { function, allocated_blocks, allocated_bytes, freed_blocks, freed_bytes }
    }

    /// Everything since the start.
    pub(crate) fn counts(&self) -> Counts {
        // Relaxed: the gate orders it.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            allocated_blocks: read(&self.allocated_blocks),
            allocated_bytes: read(&self.allocated_bytes),
            freed_blocks: read(&self.freed_blocks),
            freed_bytes: read(&self.freed_bytes),
        }
    }

    fn allocated(&self, bytes: usize) {
        self.allocated_blocks.fetch_add(1, Ordering::Relaxed);
        self.allocated_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn freed(&self, bytes: usize) {
        self.freed_blocks.fetch_add(1, Ordering::Relaxed);
        self.freed_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A block that is in an account, unless it was made while tracking was paused. Freed when dropped, by anyone.
pub(crate) struct Kept {
    block: Block,
    account: Option<&'static Account>,
}

impl Kept {
    /// Inlined: the caller is who the block is charged to.
    #[inline(always)]
    pub(crate) fn new(bytes: usize, account: &'static Account) -> Self {
        let block = Block::new(bytes, 16);
        Self { account: open(account, bytes), block }
    }

    /// Makes it `bytes` long, which frees the old block and allocates one for `account`.
    #[inline(always)]
    pub(crate) fn resize(&mut self, bytes: usize, account: &'static Account) {
        let old_bytes = self.block.size();
        self.block.resize(bytes).expect("the system has memory");
        self.close(old_bytes);
        self.account = open(account, bytes);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.block.size()
    }

    fn close(&self, bytes: usize) {
        if let Some(account) = self.account {
            account.freed(bytes);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.close(self.block.size());
    }
}

fn open(account: &'static Account, bytes: usize) -> Option<&'static Account> {
    if PAUSED.load(Ordering::Relaxed) {
        return None;
    }
    account.allocated(bytes);
    Some(account)
}
