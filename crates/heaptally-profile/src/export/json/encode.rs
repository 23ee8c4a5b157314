//! From a snapshot to its shape in JSON: whatever is shared gets an index, in the order in which it is met.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::model::{
    FORMAT, FrameModel, FunctionModel, LineModel, LocationModel, MappingModel, ModuleModel, OwnerModel, SiteModel,
    SnapshotModel, StackModel, TablesModel, ThreadModel,
};
use crate::frame::{Frame, Mapping};
use crate::site::{Owner, Site};
use crate::snapshot::Snapshot;
use crate::stack::StackTables;

/// The shape of a snapshot. Borrows all of its texts.
pub(super) fn model(snapshot: &Snapshot) -> SnapshotModel<'_> {
    let mut indexes = Indexes::default();
    let sites = snapshot.sites().iter().map(|site| indexes.site(site)).collect();
    let parts = snapshot.parts();
    SnapshotModel {
        format: FORMAT,
        sequence: parts.sequence,
        elapsed_ns: u64::try_from(parts.elapsed.as_nanos()).unwrap_or(u64::MAX),
        tick: parts.tick.number(),
        totals: parts.totals.into(),
        totals_before: parts.totals_before.map(Into::into),
        peak: parts.peak.map(Into::into),
        resident_bytes: parts.resident_bytes,
        losses: parts.losses.into(),
        overhead: parts.overhead.into(),
        captures: parts.captures.into(),
        symbols: parts.symbols.into(),
        modules: parts
            .modules
            .iter()
            .map(|module| ModuleModel { name: text(&module.name), matched: module.matched })
            .collect(),
        notes: parts.notes.iter().map(|note| text(note)).collect(),
        threads: parts
            .threads
            .iter()
            .map(|row| ThreadModel { name: text(row.name()), os_id: row.os_id(), counts: row.counts().into() })
            .collect(),
        mappings: indexes.mappings.items,
        files: indexes.files.items,
        functions: indexes.functions.items,
        tables: indexes.tables.items,
        owners: indexes.owners.items,
        sites,
    }
}

fn text(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

/// A table of the model, and what was put into it.
struct Indexed<K, T> {
    index_of: HashMap<K, u32>,
    items: Vec<T>,
}

impl<K, T> Default for Indexed<K, T> {
    fn default() -> Self {
        Self { index_of: HashMap::new(), items: Vec::new() }
    }
}

impl<K: Hash + Eq, T> Indexed<K, T> {
    /// The index of what has this key, made if it is new.
    fn index(&mut self, key: K, item: impl FnOnce() -> T) -> u32 {
        *self.index_of.entry(key).or_insert_with(|| {
            self.items.push(item());
            // A table has fewer entries than a snapshot has frames or sites, which have 32-bit indexes.
            (self.items.len() - 1) as u32
        })
    }
}

/// The function, the module and the place.
type OwnerKey<'a> = (&'a str, Option<&'a str>, Option<LocationModel>);

#[derive(Default)]
struct Indexes<'a> {
    mappings: Indexed<*const Mapping, MappingModel<'a>>,
    files: Indexed<&'a str, Cow<'a, str>>,
    functions: Indexed<(&'a str, Option<u32>), FunctionModel<'a>>,
    tables: Indexed<*const StackTables, TablesModel>,
    owners: Indexed<OwnerKey<'a>, OwnerModel<'a>>,
}

impl<'a> Indexes<'a> {
    fn site(&mut self, site: &'a Site) -> SiteModel {
        SiteModel {
            kind: site.kind(),
            owner: self.owner(site.owner()),
            stack: site.stack().map(|(tables, leaf)| StackModel { table: self.tables(tables), leaf: leaf.0 }),
            counts: site.counts().into(),
            lifetimes: site.lifetimes().into(),
        }
    }

    fn owner(&mut self, owner: &'a Owner) -> u32 {
        let location = owner.location.as_ref();
        let location = location.map(|place| LocationModel { file: self.file(&place.file), line: place.line });
        let (function, module) = (&*owner.function, owner.module.as_deref());
        self.owners.index((function, module, location), || OwnerModel {
            function: text(function),
            module: module.map(text),
            location,
        })
    }

    fn file(&mut self, file: &'a str) -> u32 {
        self.files.index(file, || text(file))
    }

    /// All stacks of the tables, also those that no site has: their numbers are what tells two snapshots' stacks apart.
    fn tables(&mut self, tables: &'a Arc<StackTables>) -> u32 {
        let key = Arc::as_ptr(tables);
        if let Some(&index) = self.tables.index_of.get(&key) {
            return index;
        }
        let frames = tables.frames.iter().map(|frame| self.frame(frame)).collect();
        let nodes = tables.nodes.iter().map(|node| (node.parent.0, node.frame)).collect();
        self.tables.index(key, || TablesModel { frames, nodes })
    }

    fn frame(&mut self, frame: &'a Frame) -> FrameModel {
        let mut lines = Vec::with_capacity(frame.lines.len());
        for line in frame.lines.iter() {
            let file = line.file.as_deref().map(|file| self.file(file));
            let function =
                self.functions.index((&line.function, file), || FunctionModel { name: text(&line.function), file });
            lines.push(LineModel { function, line: line.line });
        }
        let mapping = frame.mapping.as_ref().map(|mapping| {
            self.mappings.index(Arc::as_ptr(mapping), || MappingModel {
                path: text(&mapping.path),
                build_id: mapping.build_id.as_deref().map(text),
                start: mapping.start,
                segments: mapping.segments.iter().map(|&segment| segment.into()).collect(),
            })
        });
        FrameModel { ip: frame.ip, mapping, lines }
    }
}
