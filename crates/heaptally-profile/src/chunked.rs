//! An append-only sequence that is handed out as immutable views without being copied.
//!
//! The aggregator appends to a [`ChunkedBuilder`] (stack nodes, symbolized frames) and freezes it
//! for each snapshot; a [`Chunked`] shares all full chunks with the builder and with every other
//! view. Only the aggregator builds, any thread reads. It knows nothing of what it stores.
//!
//! ```text
//! builder   full: [ A ][ B ][ C ]   tail: c d e
//!                   │    │    │           (copied)
//! view      full: [ A ][ B ][ C ]   tail: c d e      chunks A, B, C are the same memory
//! ```

use std::fmt;
use std::sync::Arc;

/// Items in a full chunk, so also the most that a freeze copies.
const CHUNK: usize = 1024;

/// The growing end of a sequence: appends, and freezes into immutable views.
///
/// # Examples
///
/// ```
/// let mut builder = heaptally_profile::ChunkedBuilder::default();
/// assert_eq!(builder.push('a'), 0);
/// let view = builder.freeze();
/// assert_eq!(builder.push('b'), 1);
/// assert_eq!((view.get(0), view.get(1)), (Some(&'a'), None));
/// assert_eq!(builder.freeze().get(1), Some(&'b'));
/// ```
pub struct ChunkedBuilder<T> {
    full: Vec<Arc<[T]>>,
    /// Fewer than `CHUNK` items.
    tail: Vec<T>,
}

/// An immutable view of a sequence at the moment when it was frozen. Cloning copies two pointers.
pub struct Chunked<T> {
    full: Arc<[Arc<[T]>]>,
    tail: Arc<[T]>,
}

impl<T> ChunkedBuilder<T> {
    /// An empty sequence.
    pub const fn new() -> Self {
        Self { full: Vec::new(), tail: Vec::new() }
    }

    /// Appends an item and returns its index, which never changes.
    ///
    /// # Panics
    ///
    /// Panics on the item after the first 2^32. The tables of stacks are bounded far below that.
    pub fn push(&mut self, item: T) -> u32 {
        let index = u32::try_from(self.len()).expect("a chunked sequence holds at most 2^32 items");
        self.tail.push(item);
        if self.tail.len() == CHUNK {
            self.full.push(Arc::from(std::mem::take(&mut self.tail)));
        }
        index
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.full.len() * CHUNK + self.tail.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A view of the items so far. Copies fewer than 1,024 items and one pointer per full chunk.
    pub fn freeze(&self) -> Chunked<T>
    where
        T: Clone,
    {
        Chunked { full: Arc::from(self.full.as_slice()), tail: Arc::from(self.tail.as_slice()) }
    }
}

impl<T> Chunked<T> {
    /// The item at `index`, as [`ChunkedBuilder::push`] returned it.
    pub fn get(&self, index: u32) -> Option<&T> {
        let (chunk, offset) = (index as usize / CHUNK, index as usize % CHUNK);
        match self.full.get(chunk) {
            Some(items) => items.get(offset),
            None if chunk == self.full.len() => self.tail.get(offset),
            None => None,
        }
    }

    /// All items, in the order of their indexes.
    #[cfg(feature = "json")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.full.iter().flat_map(|items| items.iter()).chain(self.tail.iter())
    }

    fn len(&self) -> usize {
        self.full.len() * CHUNK + self.tail.len()
    }
}

impl<T> Default for ChunkedBuilder<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { full: Arc::default(), tail: Arc::default() }
    }
}

impl<T> Clone for Chunked<T> {
    fn clone(&self) -> Self {
        Self { full: Arc::clone(&self.full), tail: Arc::clone(&self.tail) }
    }
}

// The length only: every site of a snapshot refers to these tables, which hold millions of items.
impl<T> fmt::Debug for Chunked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunked").field("len", &self.len()).finish()
    }
}

impl<T> fmt::Debug for ChunkedBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkedBuilder").field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder_of(items: u32) -> ChunkedBuilder<u32> {
        let mut builder = ChunkedBuilder::new();
        for item in 0..items {
            assert_eq!(builder.push(item * 3), item);
        }
        builder
    }

    #[test]
    fn every_item_is_found_at_its_index_and_none_behind_the_end() {
        for items in [0, 1, 1023, 1024, 1025, 2048, 2500] {
            let builder = builder_of(items);
            let view = builder.freeze();
            assert_eq!((builder.len(), view.len()), (items as usize, items as usize));
            assert_eq!(builder.is_empty(), items == 0);
            assert!((0..items).all(|i| view.get(i) == Some(&(i * 3))));
            for past in [items, items + 1024, u32::MAX] {
                assert_eq!(view.get(past), None);
            }
        }
    }

    #[test]
    fn freezes_share_full_chunks_and_copy_the_tail() {
        let mut builder = builder_of(2500);
        let first = builder.freeze();
        builder.push(0);
        let second = builder.freeze();
        assert_eq!((first.full.len(), second.full.len()), (2, 2));
        assert!(first.full.iter().zip(second.full.iter()).all(|(a, b)| Arc::ptr_eq(a, b)));
        assert_eq!((first.tail.len(), second.tail.len()), (452, 453));
        let copy = first.clone();
        assert!(Arc::ptr_eq(&copy.full, &first.full) && Arc::ptr_eq(&copy.tail, &first.tail));
    }

    #[test]
    fn a_view_does_not_see_later_items() {
        let mut builder = builder_of(1023);
        let view = builder.freeze();
        builder.push(7);
        assert_eq!((view.len(), view.get(1023)), (1023, None));
        assert_eq!(builder.freeze().get(1023), Some(&7));
    }

    #[test]
    fn debug_output_is_short() {
        assert_eq!(format!("{:?}", builder_of(2500).freeze()), "Chunked { len: 2500 }");
    }
}
