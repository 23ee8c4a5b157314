//! All stacks ever met, as a prefix tree of instruction pointers that only grows.
//!
//! Written by whoever drains the rings, one at a time; read by the collector. It lies in the arena and is published
//! node by node, so a forked child finds every stack that the rings no longer hold, whatever the parent was doing at
//! that instant.
//!
//! ```text
//!   0: root ◄─ 1: main ◄─ 2: serve ◄─ 3: parse        leaf_of[stack id] = 3
//!                               └──◄─ 4: reply        leaf_of[stack id] = 4
//! ```
//!
//! # Synchronization
//!
//! A node's words are stored before `len` (Release), and `len` is read (Acquire) before them. A leaf is stored with
//! Release after its nodes; the ring's consumer position moves after that.
#![allow(unsafe_code, reason = "promises that zeroed nodes are valid")]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use heaptally_capture::{LazyTable, Losses, PROCESS, Record, StackId, Zeroed};
use heaptally_profile::NodeId;

use super::node_index::NodeIndex;

const NODES_PER_BLOCK: usize = 4096;
const NODE_BLOCKS: usize = 8192;
const IDS_PER_BLOCK: usize = 1024;
const ID_BLOCKS: usize = StackId::LIMIT as usize / IDS_PER_BLOCK;

struct Node {
    ip: AtomicU64,
    /// Always smaller than the node's own number.
    parent: AtomicU32,
}

// SAFETY: atomic words; a zeroed node is not below `len` and never looked at.
unsafe impl Zeroed for Node {}

/// See the module's head.
pub(crate) struct StackStore {
    nodes: LazyTable<Node, NODE_BLOCKS, NODES_PER_BLOCK>,
    /// Leaf of each stack id; 0 for an id without a stack.
    leaf_of: LazyTable<AtomicU32, ID_BLOCKS, IDS_PER_BLOCK>,
    /// One past the highest node; 0 counts as 1, the root.
    len: AtomicU32,
    /// The most nodes, without the root.
    limit: AtomicU32,
}

/// The process's.
pub(crate) static STORE: StackStore =
    StackStore { nodes: LazyTable::new(), leaf_of: LazyTable::new(), len: AtomicU32::new(0), limit: AtomicU32::new(0) };

/// Marks, as the outermost instruction pointer, a stack that was cut towards the root.
pub(crate) const TRUNCATED_IP: u64 = 0;

impl StackStore {
    /// The most nodes that it can have.
    pub(crate) const MOST_NODES: u32 = (NODES_PER_BLOCK * NODE_BLOCKS) as u32 - 1;

    /// Nodes at most. Called by `start`, before the first stack.
    pub(crate) fn set_limit(&self, nodes: u32) {
        self.limit.store(nodes.min(Self::MOST_NODES), Ordering::Relaxed);
    }

    /// Nodes at most.
    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// The leaf of a stack; `None` for an id that never got one.
    pub(crate) fn leaf(&self, id: StackId) -> Option<NodeId> {
        let leaf = self.leaf_of.get(id.index())?.load(Ordering::Acquire);
        (leaf != 0).then_some(NodeId(leaf))
    }

    /// One past the highest node.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire).max(1)
    }

    /// Parent and instruction pointer of a node from 1 to below [`StackStore::len`].
    pub(crate) fn node(&self, number: u32) -> Option<(NodeId, u64)> {
        let node = self.nodes.get(number as usize)?;
        Some((NodeId(node.parent.load(Ordering::Relaxed)), node.ip.load(Ordering::Relaxed)))
    }

    fn push(&self, parent: u32, ip: u64) -> Option<u32> {
        let (number, limit) = (self.len(), self.limit());
        if number >= limit - limit / 4 {
            // The rest is for those that are on their way, and for the ends of those to come.
            PROCESS.stacks.note_full_store();
        }
        if number > limit {
            return None;
        }
        let node = self.nodes.get_or_map(number as usize, &PROCESS.arena)?;
        node.ip.store(ip, Ordering::Relaxed);
        node.parent.store(parent, Ordering::Relaxed);
        self.len.store(number + 1, Ordering::Release);
        Some(number)
    }
}

/// The right to add to [`STORE`], with the index that finds existing nodes. One at a time.
pub(crate) struct Appender {
    children: NodeIndex,
}

impl Appender {
    /// Builds the index from what the store holds: nothing at the start, the parent's stacks in a forked child.
    pub(crate) fn new() -> Self {
        let mut children = NodeIndex::new();
        for number in 1..STORE.len() {
            // A node for which there is no memory is recorded anew.
            if let Some((parent, ip)) = key(number).filter(|_| children.make_room(key).is_ok()) {
                children.insert(parent, ip, number);
            }
        }
        Self { children }
    }

    /// Adds a stack. Without memory for it, its id stays without a leaf, and its blocks are shown in "(overflow)".
    pub(crate) fn add(&mut self, record: &Record<'_>) {
        let leaf = self
            .outer_part(record)
            .and_then(|outer| record.ips().rev().try_fold(outer, |parent, ip| self.child(parent, ip)));
        let slot = STORE.leaf_of.get_or_map(record.id.index(), &PROCESS.arena);
        match (leaf, slot) {
            (Some(leaf), Some(slot)) => slot.store(leaf, Ordering::Release),
            _ => Losses::count(&PROCESS.losses.unstored_stacks),
        }
    }

    /// The node that the frames of a record begin below; `None` when what the record begins with has found no memory.
    fn outer_part(&mut self, record: &Record<'_>) -> Option<u32> {
        let Some(base) = record.base else {
            return if record.truncated { self.child(0, TRUNCATED_IP) } else { Some(0) };
        };
        // Recorded before, in the same ring, so stored before.
        let leaf = STORE.leaf(base.id)?;
        (0..base.drop).try_fold(leaf.0, |node, _| STORE.node(node).map(|(parent, _)| parent.0))
    }

    fn child(&mut self, parent: u32, ip: u64) -> Option<u32> {
        if let Some(number) = self.children.find(parent, ip, key) {
            return Some(number);
        }
        // Without memory for the index there is no node either; an allocation that failed would end the process.
        self.children.make_room(key).ok()?;
        let number = STORE.push(parent, ip)?;
        self.children.insert(parent, ip, number);
        Some(number)
    }
}

/// What the index knows a node by.
fn key(number: u32) -> Option<(u32, u64)> {
    STORE.node(number).map(|(parent, ip)| (parent.0, ip))
}
