//! Call stacks as a prefix tree: a stack is one integer, the node of its leaf.
//!
//! The aggregator appends nodes and frames; snapshots refer to frozen tables and any thread walks
//! them. Stacks that share callers share nodes.

use crate::chunked::Chunked;
use crate::frame::Frame;

/// A stack in the prefix tree, named by its leaf. `NodeId(0)` is [`NodeId::ROOT`], which is no
/// frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The sentinel above the outermost frames: "no caller".
    pub const ROOT: Self = Self(0);

    /// The node at `index` of [`StackTables::nodes`]. The index stays below `u32::MAX`.
    pub const fn from_index(index: u32) -> Self {
        Self(index + 1)
    }

    /// Where the node lies in [`StackTables::nodes`]; `None` for the root.
    pub const fn index(self) -> Option<u32> {
        self.0.checked_sub(1)
    }
}

/// A frame together with its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StackNode {
    /// The caller, always a smaller id; [`NodeId::ROOT`] for an outermost frame.
    pub parent: NodeId,
    /// The index of the frame in [`StackTables::frames`].
    pub frame: u32,
}

/// All stacks and symbols that the sites of a snapshot refer to. Immutable, shared by snapshots.
///
/// # Examples
///
/// ```
/// use heaptally_profile::{ChunkedBuilder, Frame, NodeId, StackNode, StackTables};
///
/// let (mut nodes, mut frames) = (ChunkedBuilder::new(), ChunkedBuilder::new());
/// let mut caller = NodeId::ROOT;
/// for ip in [0x1000, 0x2000] {
///     let frame = frames.push(Frame { ip, mapping: None, lines: [].into() });
///     caller = NodeId::from_index(nodes.push(StackNode { parent: caller, frame }));
/// }
/// let tables = StackTables { nodes: nodes.freeze(), frames: frames.freeze() };
/// let ips: Vec<u64> = tables.walk(caller).map(|frame| frame.ip).collect();
/// assert_eq!(ips, [0x2000, 0x1000]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct StackTables {
    /// The nodes; the one at index `i` is `NodeId(i + 1)`.
    pub nodes: Chunked<StackNode>,
    /// The frames that nodes refer to, one per distinct address.
    pub frames: Chunked<Frame>,
}

impl StackTables {
    /// The frames of a stack, from its leaf towards the root. Empty for [`NodeId::ROOT`] and
    /// unknown ids.
    ///
    /// Ends after at most as many steps as there are nodes, whatever the tables hold.
    pub fn walk(&self, leaf: NodeId) -> Walk<'_> {
        Walk { tables: self, next: leaf }
    }

    /// The nodes of a stack, from its leaf towards the root; as [`StackTables::walk`] otherwise.
    pub fn walk_nodes(&self, leaf: NodeId) -> impl Iterator<Item = &StackNode> + '_ {
        let mut walk = self.walk(leaf);
        std::iter::from_fn(move || walk.next_node())
    }
}

/// The frames of one stack, leaf first. Made by [`StackTables::walk`].
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    tables: &'a StackTables,
    next: NodeId,
}

impl<'a> Walk<'a> {
    fn next_node(&mut self) -> Option<&'a StackNode> {
        let node = self.tables.nodes.get(self.next.index()?)?;
        // Ids get strictly smaller towards the root, so a damaged table cannot make this run in a
        // circle.
        self.next = if node.parent < self.next { node.parent } else { NodeId::ROOT };
        Some(node)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a Frame;

    fn next(&mut self) -> Option<&'a Frame> {
        let node = self.next_node()?;
        self.tables.frames.get(node.frame)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{stack_tables, stack_tables_of};

    use super::*;

    fn ips(tables: &StackTables, leaf: u32) -> Vec<u64> {
        tables.walk(NodeId(leaf)).map(|frame| frame.ip).collect()
    }

    #[test]
    fn a_walk_goes_from_the_leaf_to_the_root() {
        let (tables, leaf) = stack_tables(&["main", "run", "insert"]);
        assert_eq!(ips(&tables, leaf.0), [2, 1, 0]);
        let functions: Vec<&str> = tables.walk(leaf).map(|frame| &*frame.lines[0].function).collect();
        assert_eq!(functions, ["insert", "run", "main"]);
    }

    #[test]
    fn stacks_share_the_nodes_of_their_callers() {
        let tables = stack_tables_of(&[(0, 0), (1, 1), (1, 2)]);
        assert_eq!(ips(&tables, 2), [1, 0]);
        assert_eq!(ips(&tables, 3), [2, 0]);
    }

    #[test]
    fn the_root_and_unknown_ids_have_no_frames() {
        let tables = stack_tables_of(&[(0, 0)]);
        assert!(ips(&tables, 0).is_empty());
        assert!(ips(&tables, 2).is_empty());
        assert!(ips(&tables, u32::MAX).is_empty());
    }

    #[test]
    fn a_parent_that_is_not_smaller_ends_the_walk() {
        let tables = stack_tables_of(&[(2, 0), (1, 1), (3, 2)]);
        assert_eq!(ips(&tables, 2), [1, 0]);
        assert_eq!(ips(&tables, 3), [2]);
    }
}
