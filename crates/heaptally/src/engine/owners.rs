//! Which function each stack is charged to, decided once per stack and kept. What each frame has to say in that is kept,
//! too: a hundred thousand stacks have some thousand frames.
//!
//! Used by the collector, on the aggregator's thread.

use std::sync::Arc;

use ahash::{HashMap, HashMapExt};
use heaptally_profile::{Location, NodeId, Owner, SiteKind, StackTables};

use super::module_filter::{FrameRole, Module, ModuleFilter, Ownership, owner};
use super::symbolizer::Symbolizer;

/// See the module's head.
pub(crate) struct Owners {
    filter: ModuleFilter,
    /// Whether some stack had a function of the module.
    matched: Vec<bool>,
    /// What each frame of the tables contributes.
    roles: Vec<FrameRole>,
    /// The decision for each leaf.
    of_leaf: HashMap<NodeId, (SiteKind, Arc<Owner>)>,
    /// Equal owners are one: thousands of stacks share a function.
    interned: HashMap<Key, Arc<Owner>>,
}

type Key = (SiteKind, Arc<str>, Option<Arc<str>>, Option<u32>);

impl Owners {
    pub(crate) fn new(filter: ModuleFilter) -> Self {
        let matched = vec![false; filter.names().len()];
        Self { filter, matched, roles: Vec::new(), of_leaf: HashMap::new(), interned: HashMap::new() }
    }

    /// The configured modules, and whether each has matched.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (Arc<str>, bool)> + '_ {
        self.filter.names().iter().cloned().zip(self.matched.iter().copied())
    }

    /// What the stack that ends at `leaf` is charged to.
    pub(crate) fn owner(
        &mut self,
        tables: &StackTables,
        leaf: NodeId,
        symbolizer: &Symbolizer,
    ) -> (SiteKind, Arc<Owner>) {
        if let Some((kind, owner)) = self.of_leaf.get(&leaf) {
            return (*kind, Arc::clone(owner));
        }
        let (kind, owner) = self.decide(tables, leaf, symbolizer);
        self.of_leaf.insert(leaf, (kind, Arc::clone(&owner)));
        (kind, owner)
    }

    fn decide(&mut self, tables: &StackTables, leaf: NodeId, symbolizer: &Symbolizer) -> (SiteKind, Arc<Owner>) {
        while let Some(frame) = tables.frames.get(self.roles.len() as u32) {
            self.roles.push(FrameRole::new(&self.filter, frame, |mapping| symbolizer.is_main(mapping)));
        }
        let owner = owner(tables.walk_nodes(leaf).filter_map(|node| self.roles.get(node.frame as usize)));
        let (kind, owner) = match owner {
            Ownership::Module { module, line } => {
                let module = match module {
                    Module::Configured(index) => {
                        self.matched[*index] = true;
                        Arc::clone(&self.filter.names()[*index])
                    }
                    Module::Crate(name) => Arc::clone(name),
                };
                let location = line.file.clone().map(|file| Location { file, line: line.line });
                (SiteKind::Module, Owner { function: Arc::clone(&line.function), module: Some(module), location })
            }
            Ownership::Other { crate_name } => {
                let function = format!("(other: {crate_name})").into();
                (SiteKind::Other, Owner { function, module: None, location: None })
            }
            Ownership::NoSymbols => (SiteKind::NoSymbols, Owner::pseudo(SiteKind::NoSymbols)),
        };
        (kind, self.intern(kind, owner))
    }

    fn intern(&mut self, kind: SiteKind, owner: Owner) -> Arc<Owner> {
        let (file, line) = match &owner.location {
            Some(location) => (Some(Arc::clone(&location.file)), location.line),
            None => (None, None),
        };
        let key = (kind, Arc::clone(&owner.function), file, line);
        Arc::clone(self.interned.entry(key).or_insert_with(|| Arc::new(owner)))
    }
}
