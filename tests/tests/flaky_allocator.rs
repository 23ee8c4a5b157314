//! An allocator that refuses at random, on many threads: what it refuses is null to the program, a block whose resize it
//! refused is what it was, and nothing of that is counted.
#![cfg(not(heaptally_portable))]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr;
use std::thread;

use heaptally::{Counts, TallyAlloc};
use heaptally_tests::{ASKED, Oracle, Random, SERVED, Strict, assert_exact, stacks};

#[global_allocator]
static ALLOC: Oracle<TallyAlloc<Oracle<Flaky>>> = Oracle::new(TallyAlloc::new(Oracle::new(Flaky, &SERVED)), &ASKED);

const THREADS: u64 = 4;
const OPERATIONS: usize = 20_000;
const SLOTS: usize = 32;

thread_local! {
    /// What decides on the next request of the thread; 0 while all are served.
    static DICE: Cell<u64> = const { Cell::new(0) };
    static REFUSED: Cell<u64> = const { Cell::new(0) };
}

/// Refuses one request of four to threads that have dice. Allocates nothing by itself.
struct Flaky;

fn is_refused() -> bool {
    let dice = DICE.get();
    if dice == 0 {
        return false;
    }
    // An odd number stays one.
    let next = dice.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(2);
    DICE.set(next);
    let is_refused = next >> 62 == 0;
    REFUSED.set(REFUSED.get() + u64::from(is_refused));
    is_refused
}

// SAFETY: hands everything on unchanged, or refuses, which is always allowed.
unsafe impl GlobalAlloc for Flaky {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        if is_refused() { ptr::null_mut() } else { unsafe { Strict.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        if is_refused() { ptr::null_mut() } else { unsafe { Strict.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        if is_refused() { ptr::null_mut() } else { unsafe { Strict.realloc(block, layout, new_size) } }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Strict.dealloc(block, layout) };
    }
}

/// A block as the program knows it, all of whose bytes are `fill`.
#[derive(Clone, Copy)]
struct Known {
    address: *mut u8,
    layout: Layout,
    fill: u8,
}

impl Known {
    fn fill(self) -> Self {
        // SAFETY: the block's own bytes.
        unsafe { self.address.write_bytes(self.fill, self.layout.size()) };
        self
    }

    fn is_whole(self) -> bool {
        let size = self.layout.size();
        // SAFETY: the block's own bytes, written by `fill`.
        [0, size / 2, size - 1].into_iter().all(|at| unsafe { *self.address.add(at) } == self.fill)
    }
}

/// Allocates, resizes and frees at random, and keeps its own account. Allocates nothing else meanwhile.
fn churn(seed: u64) -> (Counts, u64) {
    let mut random = Random::new(seed);
    let mut slots: [Option<Known>; SLOTS] = [None; SLOTS];
    let (mut own, mut refusals) = (Counts::ZERO, 0);
    let (before, mut are_whole) = (REFUSED.get(), true);
    DICE.set(2 * seed + 1);
    let ((), counted) = heaptally::measure(|| {
        for number in 0..OPERATIONS {
            let slot = &mut slots[random.below(SLOTS)];
            let limit = if random.below(8) == 0 { 20_000 } else { 300 };
            let size = 1 + random.below(limit);
            let layout = Layout::from_size_align(size, 1 << random.below(8)).expect("a valid layout");
            let fill = number as u8;
            let choice = random.below(3);
            // 100 stacks.
            stacks::at(number % 100, 2, &mut || match (*slot, choice) {
                (Some(known), 0) => {
                    are_whole &= known.is_whole();
                    // SAFETY: allocated with this layout, freed once.
                    unsafe { ALLOC.dealloc(known.address, known.layout) };
                    own.freed_blocks += 1;
                    own.freed_bytes += known.layout.size() as u64;
                    *slot = None;
                }
                (Some(known), _) => {
                    // SAFETY: allocated with this layout; the new size is not zero.
                    let address = unsafe { ALLOC.realloc(known.address, known.layout, size) };
                    if address.is_null() {
                        refusals += 1;
                        are_whole &= known.is_whole();
                        return;
                    }
                    own.freed_blocks += 1;
                    own.freed_bytes += known.layout.size() as u64;
                    own.allocated_blocks += 1;
                    own.allocated_bytes += size as u64;
                    let layout = Layout::from_size_align(size, known.layout.align()).expect("a valid layout");
                    *slot = Some(Known { address, layout, fill }.fill());
                }
                (None, _) => {
                    // SAFETY: not of zero size.
                    let address = unsafe { if choice == 0 { ALLOC.alloc(layout) } else { ALLOC.alloc_zeroed(layout) } };
                    if address.is_null() {
                        refusals += 1;
                        return;
                    }
                    own.allocated_blocks += 1;
                    own.allocated_bytes += size as u64;
                    *slot = Some(Known { address, layout, fill }.fill());
                }
            });
        }
    });
    DICE.set(0);
    assert!(are_whole, "a block lost its bytes");
    assert_eq!(refusals, REFUSED.get() - before, "each refusal is the program's to see");
    assert!((OPERATIONS as u64 / 8..OPERATIONS as u64 / 2).contains(&refusals), "{refusals}");
    assert_eq!(counted, own);
    // Their tags are what they were: each is known.
    let live = slots.iter().flatten().map(|known| known.layout.size() as u64).sum::<u64>();
    let blocks = slots.iter().flatten().count() as u64;
    let ((), freed) = heaptally::measure(|| {
        for known in slots.iter().flatten() {
            // SAFETY: allocated with this layout, freed once.
            unsafe { ALLOC.dealloc(known.address, known.layout) };
        }
    });
    assert_eq!(freed, Counts { freed_blocks: blocks, freed_bytes: live, ..Counts::ZERO });
    (own + freed, refusals)
}

#[test]
fn what_is_refused_at_random_is_null_and_counted_nowhere() {
    for what in ["before the start", "tracking"] {
        let threads: Vec<_> = (1..=THREADS).map(|seed| thread::spawn(move || churn(seed))).collect();
        for thread in threads {
            let (counts, refusals) = thread.join().expect("no panic");
            assert_eq!(counts.live_blocks(), 0);
            println!("{what}: {counts:?}, {refusals} refused");
        }
        assert_exact(what);
        if what == "before the start" {
            heaptally::start(heaptally::config!()).expect("installed");
        }
    }
}
