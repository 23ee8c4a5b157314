//! Names of functions that live for ever, one copy each.
//!
//! A list that only grows, newest first, in memory that is never given back. Used on the threads that ask for tables,
//! as heaptally's own memory. No lock: a forked child may inherit one held.
//!
//! # Synchronization
//!
//! [`NEWEST`] is exchanged and read SeqCst, which is all that the cell offers, and at least the Release and Acquire that
//! a node's contents need. Whoever loses the race for it first learns what the winner has added.

use std::ptr;

use ahash::{HashSet, HashSetExt};
use crossbeam_utils::atomic::AtomicCell;

static NEWEST: AtomicCell<Link> = AtomicCell::new(Link(None));
const _: () = assert!(AtomicCell::<Link>::is_lock_free());

/// A name, and those that were there before it.
struct Node {
    name: &'static str,
    older: Link,
}

/// A node by its address.
#[derive(Clone, Copy)]
struct Link(Option<&'static Node>);

impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        self.0.map(ptr::from_ref) == other.0.map(ptr::from_ref)
    }
}

impl Eq for Link {}

/// The list as one thread has read it.
pub(super) struct Names {
    known: HashSet<&'static str>,
    newest: Link,
}

impl Names {
    /// All names that were interned so far.
    pub(super) fn read() -> Self {
        let mut names = Self { known: HashSet::new(), newest: Link(None) };
        names.learn(NEWEST.load());
        names
    }

    /// The copy of `name` that lives for ever.
    pub(super) fn intern(&mut self, name: &str) -> &'static str {
        if let Some(known) = self.known.get(name) {
            return known;
        }
        let name: &'static str = Box::leak(name.into());
        loop {
            let node: &'static Node = Box::leak(Box::new(Node { name, older: self.newest }));
            match NEWEST.compare_exchange(self.newest, Link(Some(node))) {
                Ok(_) => self.learn(Link(Some(node))),
                Err(newest) => self.learn(newest),
            }
            if let Some(known) = self.known.get(name) {
                return known;
            }
        }
    }

    /// Takes in what was added since the list was last read.
    fn learn(&mut self, newest: Link) {
        let mut link = newest;
        while link != self.newest
            && let Link(Some(node)) = link
        {
            self.known.insert(node.name);
            link = node.older;
        }
        self.newest = newest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_found_again_by_every_reader() {
        let mut early = Names::read();
        let mut names = Names::read();
        let [a, b] = ["app::a", "app::b"].map(|name| names.intern(name));
        assert_eq!((a, b), ("app::a", "app::b"));
        assert!(ptr::eq(a, names.intern("app::a")));
        assert!(ptr::eq(b, Names::read().intern("app::b")));
        // Read before the others were there, this one hears of them when it adds its own.
        early.intern("app::c");
        assert!(ptr::eq(a, early.intern("app::a")));
    }

    #[test]
    fn threads_that_race_keep_each_name_once() {
        let names: Vec<String> = (0..2000).map(|n| format!("race::f{n}")).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut own = Names::read();
                    names.iter().for_each(|name| assert_eq!(own.intern(name), name));
                });
            }
        });
        let mut listed = Vec::new();
        let mut link = NEWEST.load();
        while let Link(Some(node)) = link {
            listed.extend(node.name.starts_with("race::").then_some(node.name));
            link = node.older;
        }
        listed.sort_unstable();
        let mut expected = names.clone();
        expected.sort_unstable();
        assert_eq!(listed, expected);
    }
}
