//! The table that a closure is shown: a snapshot by function, in the terms of the crate `leaktracer`.
//!
//! Made on the thread that asks, as heaptally's own memory; read by the program.

use ahash::{HashMap, HashMapExt};

use super::names::Names;
use crate::{Counts, SiteKind, Snapshot};

/// The row of all that is no function of the modules.
const UNKNOWN: &str = "<unknown>";

/// Live bytes and blocks by function of the modules, at one moment.
///
/// A function that has allocated keeps its row, with zeros when all was freed. The names are whole paths without hash,
/// such as `my_app::cache::Cache<T>::insert`; `<unknown>` has what is no function of the modules.
#[derive(Debug)]
pub struct SymbolTable {
    symbols: HashMap<&'static str, Symbol>,
}

impl SymbolTable {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut names = Names::read();
        let mut symbols = HashMap::new();
        let mut unknown = Counts::ZERO;
        for row in snapshot.by_function() {
            match row.kind() {
                SiteKind::Module => {
                    symbols.insert(names.intern(row.function()), Symbol::of(row.counts()));
                }
                // Neither is the program's: heaptally's own heap, and frees of blocks that nobody has allocated.
                SiteKind::Internal | SiteKind::UnknownFrees => {}
                _ => unknown += row.counts(),
            }
        }
        if unknown.allocated_blocks > 0 {
            symbols.insert(UNKNOWN, Symbol::of(unknown));
        }
        Self { symbols }
    }

    /// The rows by name, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&&'static str, &Symbol)> {
        self.symbols.iter()
    }

    /// The row of the function with exactly this name, if it has ever allocated.
    pub fn get(&self, name: &str) -> Option<&Symbol> {
        self.symbols.get(name)
    }
}

/// What a function has allocated that is not freed.
#[derive(Debug)]
pub struct Symbol {
    bytes: usize,
    blocks: usize,
}

impl Symbol {
    fn of(counts: Counts) -> Self {
        // Neither is negative in a row of a snapshot.
        Self {
            bytes: counts.live_bytes().cast_unsigned() as usize,
            blocks: counts.live_blocks().cast_unsigned() as usize,
        }
    }

    /// Live bytes, as they were asked for.
    pub fn allocated(&self) -> usize {
        self.bytes
    }

    /// Live blocks.
    pub fn count(&self) -> usize {
        self.blocks
    }
}
