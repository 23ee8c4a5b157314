//! An allocation site: the exact counters of one call stack, and the function it is charged to.
//!
//! Made by the aggregator for each snapshot, read on any thread. A site is a few pointers and some
//! numbers; its stack and its owner's text are shared with all other snapshots.

use std::fmt;
use std::sync::Arc;

use crate::counts::Counts;
use crate::frame::Frame;
use crate::lifetimes::Lifetimes;
use crate::site_kind::SiteKind;
use crate::stack::{NodeId, StackTables};

/// What a site is charged to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The path of the function, or the name of a row such as `(other: tokio)` or `(no stack)`.
    pub function: Arc<str>,
    /// The configured module that the function belongs to.
    pub module: Option<Arc<str>>,
    /// The place in the function where the allocation, or the call that leads to it, is.
    pub location: Option<Location>,
}

impl Owner {
    /// The owner of a pseudo-row: its [label](SiteKind::label), no module, no place.
    pub fn pseudo(kind: SiteKind) -> Self {
        Self { function: Arc::from(kind.label()), module: None, location: None }
    }
}

/// A place in the source. Shown as `file:line`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The source file as debug information names it.
    pub file: Arc<str>,
    /// The line in that file, counted from one.
    pub line: Option<u32>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// The counters of one call stack, or of one pseudo-row. Cheap to clone.
///
/// # Examples
///
/// ```
/// use heaptally_profile::{Counts, Site, SiteKind};
///
/// let site = Site::pseudo(SiteKind::Paused, Counts::ZERO);
/// assert_eq!(site.function(), "(paused)");
/// assert_eq!(site.frames().count(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Site {
    owner: Arc<Owner>,
    tables: Option<Arc<StackTables>>,
    counts: Counts,
    lifetimes: Lifetimes,
    /// Means something only together with `tables`.
    leaf: NodeId,
    kind: SiteKind,
}

impl Site {
    /// A site with the stack that ends in the given node, or without one.
    pub fn new(kind: SiteKind, owner: Arc<Owner>, stack: Option<(Arc<StackTables>, NodeId)>, counts: Counts) -> Self {
        let (tables, leaf) = stack.map_or((None, NodeId::ROOT), |(tables, leaf)| (Some(tables), leaf));
        Self { owner, tables, counts, lifetimes: Lifetimes::ZERO, leaf, kind }
    }

    /// With what is known of the ages of its blocks.
    #[must_use]
    pub fn with_lifetimes(self, lifetimes: Lifetimes) -> Self {
        Self { lifetimes, ..self }
    }

    /// A pseudo-row: named by the label of its kind, without a stack.
    pub fn pseudo(kind: SiteKind, counts: Counts) -> Self {
        Self::new(kind, Arc::new(Owner::pseudo(kind)), None, counts)
    }

    /// Adds what was counted under another name of the same stack.
    pub fn add(&mut self, counts: Counts, lifetimes: Lifetimes) {
        self.counts += counts;
        self.lifetimes += lifetimes;
    }

    /// Whether the site is charged to code or stands for a pseudo-row.
    pub fn kind(&self) -> SiteKind {
        self.kind
    }

    /// The path of the function that the site is charged to, or the name of its pseudo-row.
    pub fn function(&self) -> &str {
        &self.owner.function
    }

    /// The configured module that the function belongs to.
    pub fn module(&self) -> Option<&str> {
        self.owner.module.as_deref()
    }

    /// The place in that function, where debug information has it.
    pub fn location(&self) -> Option<&Location> {
        self.owner.location.as_ref()
    }

    /// The call stack, leaf first; empty for pseudo-rows.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.tables.iter().flat_map(|tables| tables.walk(self.leaf))
    }

    /// The counters of the site since the process began.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What is known of the ages of its blocks.
    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// The leaf of the stack in the tables that snapshots share. Equal in two snapshots of one
    /// process exactly when the stacks are equal; `None` for pseudo-rows.
    pub fn node(&self) -> Option<NodeId> {
        self.tables.as_ref().map(|_| self.leaf)
    }

    pub(crate) fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }

    pub(crate) fn stack(&self) -> Option<(&Arc<StackTables>, NodeId)> {
        self.tables.as_ref().map(|tables| (tables, self.leaf))
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{counts, stack_tables};

    use super::*;

    fn location(file: &str, line: Option<u32>) -> Location {
        Location { file: Arc::from(file), line }
    }

    #[test]
    fn a_site_is_128_bytes() {
        assert_eq!(size_of::<Site>(), 128);
    }

    #[test]
    fn a_site_gives_its_owner_and_its_stack() {
        let (tables, leaf) = stack_tables(&["main", "app::run"]);
        let owner = Owner {
            function: "app::run".into(),
            module: Some("app".into()),
            location: Some(location("src/run.rs", Some(7))),
        };
        let site = Site::new(SiteKind::Module, Arc::new(owner), Some((tables, leaf)), counts(2, 64, 1, 32));
        assert_eq!((site.kind(), site.function(), site.module()), (SiteKind::Module, "app::run", Some("app")));
        assert_eq!(site.location().map(Location::to_string).as_deref(), Some("src/run.rs:7"));
        assert_eq!(site.frames().map(|frame| frame.ip).collect::<Vec<_>>(), [1, 0]);
        assert_eq!((site.node(), site.counts()), (Some(leaf), counts(2, 64, 1, 32)));
    }

    #[test]
    fn a_pseudo_row_has_a_label_and_no_stack() {
        let site = Site::pseudo(SiteKind::Overflow, counts(1, 8, 0, 0));
        assert_eq!((site.function(), site.module(), site.location()), ("(overflow)", None, None));
        assert_eq!((site.node(), site.frames().count()), (None, 0));
    }

    #[test]
    fn a_location_without_a_line_is_the_file() {
        assert_eq!(location("src/lib.rs", None).to_string(), "src/lib.rs");
    }
}
