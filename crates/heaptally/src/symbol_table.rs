//! Counts by function, kept up to date by the aggregator and readable by anyone meanwhile.
//!
//! A sharded concurrent map. No guard of it is ever held while code of the program runs, and it is never touched from
//! the allocator (its shards park their waiters, and parking may allocate).

use std::sync::Arc;

use ahash::{HashMap, HashMapExt, RandomState};
use dashmap::DashMap;
use heaptally_profile::{Counts, Site, SiteKind};

/// Parts of the map with a lock of their own; a power of two.
const SHARDS: usize = 32;

/// A view of the table of counts by function: the last snapshot's numbers, whoever took it.
///
/// Copies are views of the same table. Reading it takes no snapshot, symbolizes nothing, and may be done from any
/// number of threads while snapshots are taken; a row is then of the one or of the other snapshot, never a mixture. A
/// forked child asks [`Tally::symbol_table`](crate::Tally::symbol_table) for its own.
///
/// # Examples
///
/// ```no_run
/// # let tally = heaptally::tally().unwrap();
/// let table = tally.symbol_table();
/// tally.snapshot();
/// if let Some(counts) = table.get("my_app::cache::insert") {
///     println!("{} bytes live", counts.live_bytes());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SymbolTable {
    /// By name: the names of pseudo-rows are in parentheses, which no function's are.
    functions: Arc<DashMap<Arc<str>, Entry, RandomState>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: SiteKind,
    counts: Counts,
    /// The snapshot that the counts are of.
    sequence: u64,
}

impl SymbolTable {
    pub(crate) fn new() -> Self {
        // Said outright: the map would find a number for itself once in a process, behind a lock that a forked child
        // may inherit held.
        Self { functions: Arc::new(DashMap::with_hasher_and_shard_amount(RandomState::new(), SHARDS)) }
    }

    /// What a function of the modules, or a pseudo-row, has allocated and freed; `None` when it has never allocated.
    pub fn get(&self, function: &str) -> Option<Counts> {
        Some(self.functions.get(function)?.counts)
    }

    /// A copy of all rows: function, kind and counts, in no order.
    pub fn rows(&self) -> Vec<(Arc<str>, SiteKind, Counts)> {
        self.functions.iter().map(|entry| (Arc::clone(entry.key()), entry.kind, entry.counts)).collect()
    }

    /// Functions in the table.
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    /// Whether no snapshot was taken yet.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Takes over the counts of a snapshot.
    pub(crate) fn merge(&self, sites: &[Site], sequence: u64) {
        let mut sums: HashMap<&str, Entry> = HashMap::new();
        for site in sites {
            let nothing = Entry { kind: site.kind(), counts: Counts::ZERO, sequence };
            sums.entry(site.function()).or_insert(nothing).counts += site.counts();
        }
        for (function, entry) in sums {
            match self.functions.get_mut(function) {
                Some(mut row) => *row = entry,
                None => {
                    self.functions.insert(function.into(), entry);
                }
            }
        }
        // What no stack is charged to any more, since the modules were changed.
        self.functions.retain(|_, entry| entry.sequence == sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_alike_are_spread_over_all_shards() {
        const EACH: usize = 400;
        let table = SymbolTable::new();
        for number in 0..SHARDS * EACH {
            let entry = Entry { kind: SiteKind::Module, counts: Counts::ZERO, sequence: 0 };
            table.functions.insert(format!("app::worker::handle_{number}").into(), entry);
        }
        let lens: Vec<usize> = table.functions.shards().iter().map(|shard| shard.read().len()).collect();
        assert_eq!(lens.len(), SHARDS);
        // 400 each, with a standard deviation of 20 (binomial).
        assert!(lens.iter().all(|len| (EACH / 2..2 * EACH).contains(len)), "{lens:?}");
    }
}
