//! The process's rules, by instruction pointer: insert-only, lock-free, read by every thread.
//!
//! Looked up in the hook for every frame that is unwound anew; written the first time the process meets a call site.
//! What is in it never changes, so its lines stay in every core's cache. A full level is followed by one of four times
//! the size; the rules of hot call sites move up by being found.
//!
//! # Synchronization
//!
//! Whoever inserts claims a slot (compare-and-swap 0 → [`CLAIMED`]), stores the rule, and stores the key with Release;
//! a lookup reads the key with Acquire and then the rule. A claim that is never kept, because its thread jumped away or
//! the process was forked, costs a slot. Two threads may insert one call site twice: both rules are the same.

use crate::arena::{Arena, Zeroed};
use crate::levels::{Full, Levels};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

use super::rule::Rule;

/// Slots looked at on one level before the next is tried.
const MAX_PROBES: usize = if cfg!(heaptally_loom) { 2 } else { 8 };
/// 4096 · 4^5 = 4.2 million slots: 64 MiB, for programs that unload and load code without end.
const LEVELS: usize = 6;
/// A slot whose rule is about to be stored. No key: user addresses are not that small.
const CLAIMED: u64 = 1;

struct Slot {
    key: AtomicU64,
    rule: AtomicU64,
}

// SAFETY: two atomic words; a zero key is an empty slot.
unsafe impl Zeroed for Slot {}

/// What a rule is kept under: an instruction pointer, how it is looked up, and the generation of its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuleKey(u64);

impl RuleKey {
    /// `pc` is below 2^47, as addresses of user code are.
    #[inline]
    pub(crate) fn new(pc: u64, exact: bool, generation: u16) -> Self {
        Self(pc << 1 | u64::from(exact) | u64::from(generation) << 48)
    }
}

/// See the module's head.
pub(crate) struct RuleTable {
    levels: Levels<Slot, LEVELS>,
    rules: AtomicU32,
}

impl RuleTable {
    /// Slots of all levels.
    pub(crate) const SLOTS: usize = Levels::<Slot, LEVELS>::SLOTS;

    pub(crate) const fn new() -> Self {
        Self { levels: Levels::new(), rules: AtomicU32::new(0) }
    }

    /// Rules that were inserted.
    pub(crate) fn len(&self) -> u32 {
        self.rules.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn find(&self, key: RuleKey) -> Option<Rule> {
        let newest = self.levels.newest();
        // PERF: the first slot of the newest level has nearly all of them.
        if let Some(slot) = self.levels.slot(newest, place(key), 0) {
            // Acquire: pairs with the Release in `insert_at`.
            if slot.key.load(Ordering::Acquire) == key.0 {
                return Some(Rule::from_word(slot.rule.load(Ordering::Relaxed)));
            }
        }
        self.find_further(newest, key)
    }

    #[cold]
    fn find_further(&self, newest: usize, key: RuleKey) -> Option<Rule> {
        for level in (0..=newest).rev() {
            let Some(rule) = self.probe(level, key) else { continue };
            if level != newest {
                // A full newest level only means that the rule stays where it is.
                let _ = self.insert_at(newest, key, rule);
            }
            return Some(rule);
        }
        None
    }

    /// Keeps the rule of `key`, memory permitting; otherwise it is compiled again the next time.
    pub(crate) fn insert(&self, key: RuleKey, rule: Rule, arena: &Arena) {
        if self.levels.insert(arena, |level| self.insert_at(level, key, rule)).is_some() {
            self.rules.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn insert_at(&self, level: usize, key: RuleKey, rule: Rule) -> Result<(), Full> {
        for step in 0..MAX_PROBES {
            let slot = self.levels.slot(level, place(key), step).ok_or(Full)?;
            if slot.key.compare_exchange(0, CLAIMED, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                slot.rule.store(rule.word(), Ordering::Relaxed);
                // Release: pairs with the Acquire in `find` and `probe`.
                slot.key.store(key.0, Ordering::Release);
                return Ok(());
            }
        }
        Err(Full)
    }

    fn probe(&self, level: usize, key: RuleKey) -> Option<Rule> {
        for step in 0..MAX_PROBES {
            let slot = self.levels.slot(level, place(key), step)?;
            // Acquire: pairs with the Release in `insert_at`.
            match slot.key.load(Ordering::Acquire) {
                0 => return None,
                found if found == key.0 => return Some(Rule::from_word(slot.rule.load(Ordering::Relaxed))),
                _ => {}
            }
        }
        None
    }
}

/// Where to look for a key.
#[inline]
fn place(key: RuleKey) -> usize {
    // PERF: return addresses differ in their low bits; a multiplication would spread them better and cost three
    // cycles of every frame's chain of dependent loads.
    (key.0 ^ key.0 >> 15 ^ key.0 >> 48) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(n: i64) -> Rule {
        Rule::plain(super::super::rule::Base::StackPointer, 8 * n, super::super::rule::CallerFp::Same)
    }

    #[test]
    fn every_rule_is_found_under_its_own_key() {
        let (table, arena) = (RuleTable::new(), Arena::new());
        // Call sites five bytes apart, three times the first level.
        let key = |n: u64, exact, generation| RuleKey::new(0x5555_0000_1000 + 5 * n, exact, generation);
        for n in 0..12_000 {
            assert_eq!(table.find(key(n, false, 0)), None);
            table.insert(key(n, false, 0), rule(n as i64), &arena);
        }
        assert_eq!(table.len(), 12_000);
        for n in 0..12_000 {
            assert_eq!(table.find(key(n, false, 0)), Some(rule(n as i64)), "{n}");
            assert_eq!(table.find(key(n, true, 0)), None);
            assert_eq!(table.find(key(n, false, 7)), None);
        }
    }

    #[test]
    fn threads_that_insert_at_once_all_find_what_they_inserted() {
        extern crate std;
        let (table, arena) = (RuleTable::new(), Arena::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 1..6_000 {
                        let key = RuleKey::new(0x1000 + 3 * n, false, 0);
                        if table.find(key).is_none() {
                            table.insert(key, rule(n as i64), &arena);
                        }
                        assert_eq!(table.find(key), Some(rule(n as i64)));
                    }
                });
            }
        });
    }
}
