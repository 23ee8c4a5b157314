//! Memory is handed out once, and its limit holds.

extern crate std;

use super::fault::Instead::Torn;
use super::fault::fault;
use super::{Model, both};
use crate::arena::Arena;
use crate::sync::AtomicU64;

static ARENA: Arena = Arena::new();

/// Two threads take memory while there is none; one of two chunks is given back.
const ONCE: Model = Model::new(|| {
    let take = || ARENA.slice::<AtomicU64, 2>().map(|memory| memory.as_ptr().addr());
    let (first, second) = both(take, take);
    let (first, second) = (first.expect("memory"), second.expect("memory"));
    assert!(first.abs_diff(second) >= 16, "the same memory");
    assert_eq!((ARENA.mapped_bytes(), ARENA.handed_out_bytes()), (1 << 20, 32));
})
.beside(&[])
.with_preemptions(4);

/// As above, with room for one chunk: who finds no room is refused, and the limit holds.
const LIMITED: Model = Model::new(|| {
    ARENA.set_limit_bytes(1 << 20);
    let take = || {
        let memory = ARENA.slice::<AtomicU64, 2>();
        assert!(ARENA.mapped_bytes() <= 1 << 20, "above the limit");
        memory.is_some()
    };
    let (first, second) = both(take, take);
    assert!(first || second);
    assert_eq!(ARENA.mapped_bytes(), 1 << 20);
})
.beside(&[]);

#[test]
fn memory_is_handed_out_once_and_within_the_limit() {
    ONCE.holds();
    ONCE.fails_with(fault!("arena.rs", "fn bump", ".compare_exchange_weak", Torn));
    ONCE.fails_with(fault!("arena.rs", "fn replace", ".compare_exchange", Torn));
    LIMITED.holds();
    LIMITED.fails_with(fault!("arena.rs", "fn take(", ".compare_exchange_weak", Torn));
}
