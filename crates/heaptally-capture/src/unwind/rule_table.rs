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
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::rule::Rule;

/// Slots looked at on one level before the next is tried.
const MAX_PROBES: usize = 8;
/// Slots of the first level; each next one has four times as many.
const FIRST_LEVEL_SLOTS: usize = 4096;
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
    levels: [AtomicPtr<Slot>; LEVELS],
    newest: AtomicU32,
    rules: AtomicU32,
}

impl RuleTable {
    pub(crate) const fn new() -> Self {
        Self {
            levels: [const { AtomicPtr::new(core::ptr::null_mut()) }; LEVELS],
            newest: AtomicU32::new(0),
            rules: AtomicU32::new(0),
        }
    }

    /// Rules that were inserted.
    pub(crate) fn len(&self) -> u32 {
        self.rules.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn find(&self, key: RuleKey) -> Option<Rule> {
        let newest = self.newest.load(Ordering::Relaxed) as usize;
        // PERF: the first slot of the newest level has nearly all of them.
        if let Some(base) = self.level(newest) {
            let slot = slot(base, newest, key, 0);
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
        for level in self.newest.load(Ordering::Relaxed) as usize..LEVELS {
            if self.level_or_map(level, arena).is_none() {
                return;
            }
            if self.insert_at(level, key, rule).is_ok() {
                self.rules.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }

    fn insert_at(&self, level: usize, key: RuleKey, rule: Rule) -> Result<(), Full> {
        let base = self.level(level).ok_or(Full)?;
        for step in 0..MAX_PROBES {
            let slot = slot(base, level, key, step);
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
        let base = self.level(level)?;
        for step in 0..MAX_PROBES {
            let slot = slot(base, level, key, step);
            // Acquire: pairs with the Release in `insert_at`.
            match slot.key.load(Ordering::Acquire) {
                0 => return None,
                found if found == key.0 => return Some(Rule::from_word(slot.rule.load(Ordering::Relaxed))),
                _ => {}
            }
        }
        None
    }

    #[inline]
    fn level(&self, level: usize) -> Option<*const Slot> {
        // Acquire: pairs with the Release in `level_or_map`.
        let base = self.levels.get(level)?.load(Ordering::Acquire);
        (!base.is_null()).then_some(base.cast_const())
    }

    fn level_or_map(&self, level: usize, arena: &Arena) -> Option<()> {
        if self.level(level).is_none() {
            let slots = match level {
                0 => arena.slice::<Slot, { level_slots(0) }>()?.as_ptr(),
                1 => arena.slice::<Slot, { level_slots(1) }>()?.as_ptr(),
                2 => arena.slice::<Slot, { level_slots(2) }>()?.as_ptr(),
                3 => arena.slice::<Slot, { level_slots(3) }>()?.as_ptr(),
                4 => arena.slice::<Slot, { level_slots(4) }>()?.as_ptr(),
                _ => arena.slice::<Slot, { level_slots(5) }>()?.as_ptr(),
            };
            // Release: pairs with the Acquire in `level`. A thread that comes second leaves its zeros in the arena,
            // untouched.
            let _ = self.levels[level].compare_exchange(
                core::ptr::null_mut(),
                slots.cast_mut(),
                Ordering::Release,
                Ordering::Relaxed,
            );
        }
        self.newest.fetch_max(level as u32, Ordering::Relaxed);
        Some(())
    }
}

const fn level_slots(level: usize) -> usize {
    FIRST_LEVEL_SLOTS << (2 * level)
}

/// The `step`-th slot that `key` may be in.
#[inline]
fn slot(base: *const Slot, level: usize, key: RuleKey, step: usize) -> &'static Slot {
    // PERF: return addresses differ in their low bits; a multiplication would spread them better and cost three
    // cycles of every frame's chain of dependent loads.
    let hash = key.0 ^ key.0 >> 15 ^ key.0 >> 48;
    let index = (hash as usize).wrapping_add(step) & (level_slots(level) - 1);
    // SAFETY: a level has that many slots, zeroed, in memory that lives for ever.
    unsafe { &*base.add(index) }
}

struct Full;

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
