//! From the shape in JSON to a snapshot. Nothing in it is believed: every index is looked up, and a parent lies before its
//! children, so that no stack goes in a circle.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::model::{FrameModel, OwnerModel, SiteModel, SnapshotModel, TablesModel};
use crate::chunked::ChunkedBuilder;
use crate::export::ReadError;
use crate::frame::{Frame, Line, Mapping};
use crate::site::{Location, Owner, Site};
use crate::snapshot::{ModuleUse, Snapshot, SnapshotParts};
use crate::stack::{NodeId, StackNode, StackTables};
use crate::thread_row::ThreadRow;
use crate::tick_number::TickNumber;

/// A snapshot of this shape.
pub(super) fn snapshot(model: SnapshotModel<'_>) -> Result<Snapshot, ReadError> {
    let files: Vec<Arc<str>> = model.files.iter().map(|file| Arc::from(&**file)).collect();
    let symbols = Symbols {
        functions: model
            .functions
            .into_iter()
            .map(|function| {
                let file = function.file.map(|file| at(&files, file, "file").cloned()).transpose()?;
                Ok((Arc::from(&*function.name), file))
            })
            .collect::<Result<_, ReadError>>()?,
        mappings: model
            .mappings
            .into_iter()
            .map(|mapping| {
                Arc::new(Mapping {
                    path: mapping.path.into_owned(),
                    build_id: mapping.build_id.map(Cow::into_owned),
                    start: mapping.start,
                    segments: mapping.segments.into_iter().map(Into::into).collect(),
                })
            })
            .collect(),
    };
    let tables = model.tables.into_iter().map(|tables| symbols.tables(tables)).collect::<Result<Vec<_>, _>>()?;
    let owners = model.owners.into_iter().map(|model| owner(model, &files)).collect::<Result<Vec<_>, _>>()?;
    let sites = model.sites.into_iter().map(|model| site(model, &owners, &tables)).collect::<Result<_, _>>()?;
    let modules = model.modules.into_iter();
    Ok(Snapshot::from_parts(SnapshotParts {
        sequence: model.sequence,
        totals: model.totals.into(),
        totals_before: model.totals_before.map(Into::into),
        sites,
        threads: model
            .threads
            .into_iter()
            .map(|row| match row.os_id {
                Some(os_id) => ThreadRow::of_thread(os_id, Arc::from(&*row.name), row.counts.into()),
                None => ThreadRow::of_others(row.counts.into()),
            })
            .collect(),
        losses: model.losses.into(),
        overhead: model.overhead.into(),
        captures: model.captures.into(),
        symbols: model.symbols.into(),
        resident_bytes: model.resident_bytes,
        modules: modules.map(|module| ModuleUse { name: Arc::from(&*module.name), matched: module.matched }).collect(),
        peak: model.peak.map(Into::into),
        elapsed: Duration::from_nanos(model.elapsed_ns),
        tick: TickNumber::new(model.tick),
        notes: model.notes.into_iter().map(Cow::into_owned).collect(),
    }))
}

/// The item at an index that was read.
fn at<'t, T>(table: &'t [T], index: u32, noun: &str) -> Result<&'t T, ReadError> {
    let missing = || ReadError::damaged(format!("it has no {noun} {index}, only {}", table.len()));
    table.get(index as usize).ok_or_else(missing)
}

/// What frames refer to.
struct Symbols {
    functions: Vec<(Arc<str>, Option<Arc<str>>)>,
    mappings: Vec<Arc<Mapping>>,
}

impl Symbols {
    fn tables(&self, model: TablesModel) -> Result<Arc<StackTables>, ReadError> {
        let (mut frames, mut nodes) = (ChunkedBuilder::new(), ChunkedBuilder::new());
        let frame_count = model.frames.len();
        if frame_count.max(model.nodes.len()) >= u32::MAX as usize {
            return Err(ReadError::damaged("it has more stacks than heaptally can have"));
        }
        for frame in model.frames {
            frames.push(self.frame(frame)?);
        }
        for (number, (parent, frame)) in (1..).zip(model.nodes) {
            if parent >= number {
                return Err(ReadError::damaged(format!(
                    "node {number} has the parent {parent}, which is not before it"
                )));
            }
            if frame as usize >= frame_count {
                return Err(ReadError::damaged(format!("it has no frame {frame}, only {frame_count}")));
            }
            nodes.push(StackNode { parent: NodeId(parent), frame });
        }
        Ok(Arc::new(StackTables { nodes: nodes.freeze(), frames: frames.freeze() }))
    }

    fn frame(&self, model: FrameModel) -> Result<Frame, ReadError> {
        let line = |line: super::model::LineModel| {
            let (function, file) = at(&self.functions, line.function, "function")?.clone();
            Ok(Line { function, file, line: line.line })
        };
        Ok(Frame {
            ip: model.ip,
            mapping: model.mapping.map(|mapping| at(&self.mappings, mapping, "mapping").cloned()).transpose()?,
            lines: model.lines.into_iter().map(line).collect::<Result<_, ReadError>>()?,
        })
    }
}

fn owner(model: OwnerModel<'_>, files: &[Arc<str>]) -> Result<Arc<Owner>, ReadError> {
    let location = model.location.map(|place| {
        let file = Arc::clone(at(files, place.file, "file")?);
        Ok(Location { file, line: place.line })
    });
    Ok(Arc::new(Owner {
        function: Arc::from(&*model.function),
        module: model.module.map(|module| Arc::from(&*module)),
        location: location.transpose()?,
    }))
}

fn site(model: SiteModel, owners: &[Arc<Owner>], tables: &[Arc<StackTables>]) -> Result<Site, ReadError> {
    let owner = Arc::clone(at(owners, model.owner, "owner")?);
    let stack = model.stack.map(|stack| {
        let tables = at(tables, stack.table, "table")?;
        // Node 0 is that of the stack without any frame.
        let leaf = NodeId(stack.leaf);
        if leaf.index().is_some_and(|index| tables.nodes.get(index).is_none()) {
            return Err(ReadError::damaged(format!("it has no node {}", stack.leaf)));
        }
        Ok((Arc::clone(tables), leaf))
    });
    let site = Site::new(model.kind, owner, stack.transpose()?, model.counts.into());
    Ok(site.with_lifetimes(model.lifetimes.into()))
}
