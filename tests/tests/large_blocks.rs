//! Blocks of 256 bytes and more: as large for the allocator inside as for the program, and untouched.
#![cfg(not(heaptally_portable))]

use std::alloc::{GlobalAlloc, Layout, System, alloc, alloc_zeroed, dealloc, realloc};
use std::cell::Cell;
use std::ptr;

use heaptally::{Counts, SiteKind, TallyAlloc};
use heaptally_tests::{Block, assert_conserved, resident_bytes};

#[global_allocator]
static ALLOC: TallyAlloc<Noting> = TallyAlloc::new(Noting);

thread_local! {
    /// What the system was last asked for by this thread, and what was last given back.
    static ASKED: Cell<Option<Layout>> = const { Cell::new(None) };
    static FREED: Cell<Option<Layout>> = const { Cell::new(None) };
    /// What becomes of the memory that is given back next.
    static FATE: Cell<Fate> = const { Cell::new(Fate::System) };
    static GIVEN_BACK: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
    static TAKEN: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// The system has it back.
    System,
    /// It is allocated anew before the operation is over, as another thread might do.
    TakenAgain,
    /// Nobody has it, so that it can be freed once more.
    Kept,
}

/// The system, which notes what it is asked for.
struct Noting;

fn give_back(block: *mut u8, layout: Layout, fate: Fate) {
    match fate {
        // SAFETY: one of the system's, which nobody has any more.
        Fate::System => unsafe { System.dealloc(block, layout) },
        Fate::TakenAgain => {
            GIVEN_BACK.set(block);
            // SAFETY: a layout that was allocated with is not of size zero.
            TAKEN.set(unsafe { ALLOC.alloc(layout) });
        }
        Fate::Kept => {}
    }
}

// SAFETY: hands everything to the system unchanged, or a block that it has back to who asks for one like it; thread-locals without destructor neither allocate nor unwind.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(Some(layout));
        let given_back = GIVEN_BACK.replace(ptr::null_mut());
        // SAFETY: the caller's promise.
        if given_back.is_null() { unsafe { System.alloc(layout) } } else { given_back }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ASKED.set(Some(layout));
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        FREED.set(Some(layout));
        give_back(address, layout, FATE.replace(Fate::System));
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        FREED.set(Some(layout));
        ASKED.set(Layout::from_size_align(new_size, layout.align()).ok());
        let fate = FATE.replace(Fate::System);
        if fate == Fate::System {
            // SAFETY: the caller's promise.
            return unsafe { System.realloc(address, layout, new_size) };
        }
        // SAFETY: the caller's promise; what is in it is nobody's business here.
        let new = unsafe { System.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        give_back(address, layout, fate);
        new
    }
}

const MIB: usize = 1 << 20;
/// Pages of the page map and of the inner allocator's own accounts.
const FEW_BYTES: u64 = 32 * 4096;

#[test]
fn a_large_block_keeps_its_size_and_its_pages_untouched() {
    sizes();
    zeroed_pages();
    taken_again();
    freed_twice();
    heaptally::start(heaptally::config!()).expect("installed");
    sizes();
    zeroed_pages();
    taken_again();
    freed_twice();
    let unknown = assert_conserved("tracking").function(SiteKind::UnknownFrees.label()).map(|row| row.counts());
    assert_eq!(unknown, Some(change([0, 0], [4, 2 * (4000 + 5000)])));
}

fn sizes() {
    for (size, align, served_bytes) in [
        (255, 8, 263),
        (256, 8, 256),
        (257, 1, 257),
        (1024, 1024, 1024),
        (4096, 4096, 4096),
        (65_536, 16, 65_536),
        (2 * MIB, 2 * MIB, 2 * MIB),
    ] {
        let served = Layout::from_size_align(served_bytes, align.max(8)).ok();
        let mut block = Block::new(size, align);
        assert_eq!(ASKED.get(), served);
        block.resize(3 * size).expect("memory");
        assert_eq!(FREED.get(), served);
        block.resize(size).expect("memory");
        assert_eq!(ASKED.get(), served);
        drop(block);
        assert_eq!(FREED.get(), served);
    }
}

fn zeroed_pages() {
    let (size, grown) = (64 * MIB, 128 * MIB);
    let before = resident_bytes();
    // SAFETY: not of size zero, read in bounds, resized and freed with the layout it has.
    unsafe {
        let block = alloc_zeroed(layout(size));
        assert_eq!((block.read(), block.add(size - 1).read()), (0, 0));
        assert!(resident_bytes() < before + FEW_BYTES, "{before} then {}", resident_bytes());
        let block = realloc(block, layout(size), grown);
        assert_eq!((block.read(), block.add(grown - 1).read()), (0, 0));
        assert!(resident_bytes() < before + FEW_BYTES, "{before} then {}", resident_bytes());
        dealloc(block, layout(grown));
    }
}

/// A block whose memory is another's before its free, or its move, is over: the other one has a tag of its own.
fn taken_again() {
    // SAFETY: not of size zero, resized and freed with the layout it has.
    unsafe {
        let block = alloc(layout(4000));
        let ((), counted) = heaptally::measure(|| fated(Fate::TakenAgain, || dealloc(block, layout(4000))));
        assert_eq!((counted, TAKEN.get()), (change([1, 4000], [1, 4000]), block));

        let grow = || fated(Fate::TakenAgain, || realloc(block, layout(4000), 9000));
        let (moved, counted) = heaptally::measure(grow);
        assert_eq!((counted, TAKEN.get()), (change([2, 13_000], [1, 4000]), block));

        let ((), counted) = heaptally::measure(|| {
            dealloc(block, layout(4000));
            dealloc(moved, layout(9000));
        });
        assert_eq!(counted, change([0, 0], [2, 13_000]));
    }
}

/// The second time, after a free and after a move, nobody knows the block: its tag is gone.
fn freed_twice() {
    // SAFETY: not of size zero, resized and freed with the layout it has; the inner allocator keeps a block the first time.
    unsafe {
        let block = alloc(layout(4000));
        let ((), counted) = heaptally::measure(|| fated(Fate::Kept, || dealloc(block, layout(4000))));
        assert_eq!(counted, change([0, 0], [1, 4000]));
        let ((), counted) = heaptally::measure(|| dealloc(block, layout(4000)));
        assert_eq!(counted, Counts::ZERO);

        let block = alloc(layout(5000));
        let (moved, counted) = heaptally::measure(|| fated(Fate::Kept, || realloc(block, layout(5000), 9000)));
        assert_eq!(counted, change([1, 9000], [1, 5000]));
        let ((), counted) = heaptally::measure(|| dealloc(block, layout(5000)));
        assert_eq!(counted, Counts::ZERO);
        dealloc(moved, layout(9000));
    }
}

/// Runs `f`, which gives memory back.
fn fated<R>(fate: Fate, f: impl FnOnce() -> R) -> R {
    FATE.set(fate);
    f()
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 16).expect("a valid layout")
}

fn change(allocated: [u64; 2], freed: [u64; 2]) -> Counts {
    Counts {
        allocated_blocks: allocated[0],
        allocated_bytes: allocated[1],
        freed_blocks: freed[0],
        freed_bytes: freed[1],
    }
}
