//! A healthy cache: it holds a fixed number of pages and frees one for each that it takes in.

use std::sync::{Arc, Mutex};

/// Bytes of a page; server and client rely on it.
pub(crate) const PAGE_BYTES: usize = 2048;
const PAGES_KEPT: usize = 64;

/// The pages rendered last: page `n` takes the place of page `n - PAGES_KEPT`.
pub(crate) struct PageCache {
    slots: Mutex<Vec<Arc<[u8]>>>,
}

impl PageCache {
    /// A cache full of one blank page.
    pub(crate) fn new() -> Self {
        Self { slots: Mutex::new(vec![Arc::from([b' '; PAGE_BYTES]); PAGES_KEPT]) }
    }

    /// Keeps a copy of a page.
    pub(crate) fn keep(&self, number: usize, page: &[u8; PAGE_BYTES]) {
        let page = Arc::from(page.as_slice());
        self.slots.lock().expect("no thread panics while it holds the pages")[number % PAGES_KEPT] = page;
    }

    /// The page that is kept in the place of page `number`.
    pub(crate) fn get(&self, number: usize) -> Arc<[u8]> {
        Arc::clone(&self.slots.lock().expect("no thread panics while it holds the pages")[number % PAGES_KEPT])
    }
}
