//! The tables of a profile: strings, functions, locations and mappings, each entry once, numbered as they are met.
//!
//! What is met for the first time goes into the part of the profile that is written next; only mappings wait for the
//! end, because what is known of their frames is known then. The order of the numbers is that of the samples, so that
//! the same data gives the same profile.

use std::collections::HashMap;
use std::sync::Arc;

use super::messages::{Function, Line, Location, Mapping, Profile};
use crate::export::sample::Sample;
use crate::frame::{self, Frame};
use crate::stack::StackTables;

/// What was met so far.
pub(super) struct Tables<'a> {
    /// What is not yet written.
    pub(super) part: Profile,
    strings: HashMap<&'a str, i64>,
    functions: HashMap<FunctionKey, u64>,
    mappings: Vec<Mapping>,
    mapping_at: HashMap<MappingKey<'a>, usize>,
    /// All tables that stacks were in: one, but for differences.
    stacks: Vec<Located<'a>>,
    stacks_at: HashMap<*const StackTables, usize>,
    /// Locations that stand for stacks without frames.
    named: HashMap<&'a str, u64>,
    locations: u64,
}

/// Its name and its file.
type FunctionKey = (i64, i64);

/// A segment of a loaded file.
#[derive(PartialEq, Eq, Hash)]
struct MappingKey<'a> {
    path: &'a str,
    build_id: Option<&'a str>,
    bias: u64,
    memory_start: u64,
}

/// The locations of the frames of one table.
struct Located<'a> {
    tables: &'a StackTables,
    /// By index of the frame; 0 where there is none yet.
    location_of: Vec<u64>,
}

impl<'a> Tables<'a> {
    pub(super) fn new() -> Self {
        let mut tables = Self {
            part: Profile::default(),
            strings: HashMap::new(),
            functions: HashMap::new(),
            mappings: Vec::new(),
            mapping_at: HashMap::new(),
            stacks: Vec::new(),
            stacks_at: HashMap::new(),
            named: HashMap::new(),
            locations: 0,
        };
        // The schema wants the empty string first.
        tables.string("");
        tables
    }

    pub(super) fn string(&mut self, text: &'a str) -> i64 {
        let next = self.strings.len() as i64;
        *self.strings.entry(text).or_insert_with(|| {
            self.part.string_table.push(text.to_owned());
            next
        })
    }

    /// The locations of a stack, leaf first: its frames, or one that has its name.
    pub(super) fn stack(&mut self, sample: &Sample<'a>) -> Vec<u64> {
        let mut ids = Vec::new();
        if let Some((tables, leaf)) = sample.stack {
            let index = self.index_of(tables);
            for node in tables.walk_nodes(leaf) {
                let Some(frame) = tables.frames.get(node.frame) else { break };
                ids.push(self.frame(index, node.frame, frame));
            }
        }
        if ids.is_empty() {
            ids.push(self.named(sample.name));
        }
        ids
    }

    /// All mappings, in the order in which they were met.
    pub(super) fn into_mappings(self) -> Vec<Mapping> {
        self.mappings
    }

    fn index_of(&mut self, tables: &'a Arc<StackTables>) -> usize {
        *self.stacks_at.entry(Arc::as_ptr(tables)).or_insert_with(|| {
            self.stacks.push(Located { tables, location_of: Vec::new() });
            self.stacks.len() - 1
        })
    }

    /// The location of the frame at `frame_index` in the table at `index`. The tables of one process only grow, so a frame
    /// that is the same in the first table has its location there.
    fn frame(&mut self, index: usize, frame_index: u32, frame: &'a Frame) -> u64 {
        let in_first = index == 0 || self.stacks[0].tables.frames.get(frame_index) == Some(frame);
        let index = if in_first { 0 } else { index };
        let at = frame_index as usize;
        match self.stacks[index].location_of.get(at) {
            Some(&id) if id > 0 => return id,
            Some(_) => {}
            None => self.stacks[index].location_of.resize(at + 1, 0),
        }
        let id = self.location(frame);
        self.stacks[index].location_of[at] = id;
        id
    }

    fn location(&mut self, frame: &'a Frame) -> u64 {
        let mut lines = Vec::with_capacity(frame.lines.len());
        for line in frame.lines.iter() {
            let function_id = self.function(&line.function, line.file.as_deref().unwrap_or_default());
            lines.push(Line { function_id, line: line.line.unwrap_or_default().into() });
        }
        let mapping_id = frame.mapping.as_deref().map_or(0, |mapping| self.mapping(mapping, frame));
        self.push(mapping_id, frame.ip, lines)
    }

    fn named(&mut self, name: &'a str) -> u64 {
        if let Some(&id) = self.named.get(name) {
            return id;
        }
        let function_id = self.function(name, "");
        let id = self.push(0, 0, vec![Line { function_id, line: 0 }]);
        self.named.insert(name, id);
        id
    }

    fn push(&mut self, mapping_id: u64, address: u64, line: Vec<Line>) -> u64 {
        self.locations += 1;
        self.part.location.push(Location { id: self.locations, mapping_id, address, line });
        self.locations
    }

    fn function(&mut self, name: &'a str, file: &'a str) -> u64 {
        let (name, filename) = (self.string(name), self.string(file));
        let next = self.functions.len() as u64 + 1;
        *self.functions.entry((name, filename)).or_insert_with(|| {
            self.part.function.push(Function { id: next, name, filename });
            next
        })
    }

    fn mapping(&mut self, mapping: &'a frame::Mapping, frame: &Frame) -> u64 {
        let segment = mapping.segment(frame.ip);
        let memory_start = segment.map_or(mapping.start, |segment| segment.start);
        let (path, build_id) = (mapping.path.as_str(), mapping.build_id.as_deref());
        let key = MappingKey { path, build_id, bias: mapping.start, memory_start };
        let index = self.mapping_at.get(&key).copied().unwrap_or_else(|| {
            let index = self.mappings.len();
            let (filename, build_id) = (self.string(path), self.string(build_id.unwrap_or_default()));
            self.mappings.push(Mapping {
                id: index as u64 + 1,
                memory_start,
                memory_limit: segment.map_or(0, |segment| segment.limit),
                file_offset: segment.map_or(0, |segment| segment.offset),
                filename,
                build_id,
                ..Mapping::default()
            });
            self.mapping_at.insert(key, index);
            index
        });
        // A tool looks names up by itself where it sees none, so one frame that has them is enough.
        let known = &mut self.mappings[index];
        known.has_functions |= !frame.lines.is_empty();
        known.has_filenames |= frame.lines.iter().any(|line| line.file.is_some());
        known.has_line_numbers |= frame.lines.iter().any(|line| line.line.is_some());
        known.has_inline_frames |= frame.lines.len() > 1;
        known.id
    }
}
