//! Blocks for whose tag there was no memory: each is found at its free, and none that was not counted.

extern crate std;

use super::fault::Instead::{Relaxed, Torn};
use super::fault::fault;
use super::{Model, both, system};
use crate::arena::Arena;
use crate::counter::Line;
use crate::page_map::PageMap;

static MAP: PageMap<2> = PageMap::new();
static ARENA: Arena = Arena::new();
static ROW: Line = Line::new();

/// Two addresses of one leaf.
const HERE: usize = 0x7000_0000_0000;
const THERE: usize = HERE + 0x100;
const SIZE: usize = 100;

fn allocate(address: usize) -> bool {
    let is_untagged = !MAP.make_slot(address, &ARENA);
    if is_untagged {
        ROW.add_allocated(SIZE);
        MAP.add_untagged_bytes(SIZE);
    }
    is_untagged
}

/// The system refuses a leaf. One thread allocates, another frees what was never handed to it.
const FOREIGN_FREE: Model = Model::new(|| {
    system::refuse(true);
    let frees = || {
        if MAP.take_untagged(HERE, SIZE) {
            assert_eq!(ROW.allocated(), [1, SIZE as u64], "a negative row");
        }
    };
    both(|| assert!(allocate(HERE)), frees);
});

#[test]
fn no_free_is_counted_before_the_untagged_block_that_it_takes() {
    FOREIGN_FREE.holds();
    FOREIGN_FREE.fails_with(fault!("page_map.rs", "fn add_untagged_bytes", ".fetch_add", Relaxed));
    FOREIGN_FREE.fails_with(fault!("page_map.rs", "fn take_untagged", ".fetch_update", Relaxed));
}

/// There is an untagged block, and the system gives memory again. One thread frees it; another allocates and frees beside
/// it, with a tag or without.
const LEAF_AGAIN: Model = Model::new(|| {
    system::refuse(true);
    assert!(allocate(HERE));
    system::refuse(false);
    let frees = || {
        assert_eq!(MAP.slot(HERE), None, "a leaf where an untagged block is");
        assert!(MAP.take_untagged(HERE, SIZE), "an untagged block is lost");
    };
    both(frees, || {
        if allocate(THERE) {
            assert!(MAP.slot(THERE).is_none() && MAP.take_untagged(THERE, SIZE), "an untagged block is lost");
        } else {
            assert!(MAP.slot(THERE).is_some(), "no slot for a tagged block");
        }
    });
    assert!(!MAP.take_untagged(HERE, 0), "no untagged block is left");
});

/// Two threads map the same leaf.
const ONE_LEAF: Model = Model::new(|| {
    let make = |address| {
        move || {
            assert!(MAP.make_slot(address, &ARENA));
            MAP.slot(address).expect("a leaf").addr()
        }
    };
    let (here, again) = both(make(HERE), make(HERE));
    assert_eq!(here, again, "two slots of one block");
});

#[test]
fn an_untagged_block_is_known_until_it_is_freed() {
    LEAF_AGAIN.holds();
    LEAF_AGAIN.fails_with(fault!("page_map.rs", "fn make_slot", "root.compare_exchange", Torn));
    LEAF_AGAIN.fails_with(fault!("page_map.rs", "let less", "root.fetch_update", Torn));
    ONE_LEAF.holds();
    ONE_LEAF.fails_with(fault!("page_map.rs", "fn map_leaf", "root.compare_exchange", Torn));
}
