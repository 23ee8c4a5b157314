//! Which child of a node has an instruction pointer: the index that finds what the store of stacks already has.
//!
//! Owned by whoever adds to the store, one at a time; allocates. It holds the numbers of nodes and nothing else: what they
//! are is looked up in the store, so a node costs 5 to 11 bytes here, and not the 50 of a map with keys.
//!
//! ```text
//!  slots:  [ 0 │ 7 │ 0 │ 3 │ 12 │ 0 │ … ]     0 is none: node 0 is the root, and nobody's child
//! ```

use std::collections::TryReserveError;

use ahash::RandomState;

const FIRST_SLOTS: usize = 1 << 12;

/// See the module's head.
pub(crate) struct NodeIndex {
    /// A power of two of them, three quarters in use at most.
    slots: Vec<u32>,
    len: usize,
    hasher: RandomState,
}

impl NodeIndex {
    /// Without memory.
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), len: 0, hasher: RandomState::new() }
    }

    /// The node that is the child of `parent` at `ip`. `node` says what a node is: its parent and instruction pointer.
    pub(crate) fn find(&self, parent: u32, ip: u64, node: impl Fn(u32) -> Option<(u32, u64)>) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut place = self.place(parent, ip);
        loop {
            match self.slots[place & mask] {
                0 => return None,
                number if node(number) == Some((parent, ip)) => return Some(number),
                _ => place = place.wrapping_add(1),
            }
        }
    }

    /// Takes the memory for one node more.
    pub(crate) fn make_room(&mut self, node: impl Fn(u32) -> Option<(u32, u64)>) -> Result<(), TryReserveError> {
        if self.len < self.slots.len() / 4 * 3 {
            return Ok(());
        }
        let doubled = (2 * self.slots.len()).max(FIRST_SLOTS);
        let mut slots = Vec::new();
        slots.try_reserve_exact(doubled)?;
        slots.resize(doubled, 0);
        let old = std::mem::replace(&mut self.slots, slots);
        for number in old.into_iter().filter(|&number| number != 0) {
            if let Some((parent, ip)) = node(number) {
                self.put(parent, ip, number);
            }
        }
        Ok(())
    }

    /// Adds the node `number`, the child of `parent` at `ip`, for which room was made. It is not in the index yet.
    pub(crate) fn insert(&mut self, parent: u32, ip: u64, number: u32) {
        debug_assert!(self.len < self.slots.len() && number != 0);
        self.put(parent, ip, number);
        self.len += 1;
    }

    fn put(&mut self, parent: u32, ip: u64, number: u32) {
        let mask = self.slots.len() - 1;
        let mut place = self.place(parent, ip);
        while self.slots[place & mask] != 0 {
            place = place.wrapping_add(1);
        }
        self.slots[place & mask] = number;
    }

    fn place(&self, parent: u32, ip: u64) -> usize {
        self.hasher.hash_one((parent, ip)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_found_and_no_other() {
        // A tree of three children each, beyond the first slots.
        let nodes: Vec<(u32, u64)> = (0..20_000).map(|number| (number / 3, u64::from(number % 3))).collect();
        let node = |number: u32| Some(nodes[number as usize - 1]);
        let mut index = NodeIndex::new();
        assert_eq!(index.find(0, 0, node), None);
        for (number, &(parent, ip)) in (1..).zip(&nodes) {
            assert_eq!(index.find(parent, ip, node), None);
            index.make_room(node).unwrap();
            index.insert(parent, ip, number);
        }
        for (number, &(parent, ip)) in (1..).zip(&nodes) {
            assert_eq!(index.find(parent, ip, node), Some(number));
            assert_eq!(index.find(parent, ip + 3, node), None);
        }
    }
}
