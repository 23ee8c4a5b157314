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
    /// Whether the memory that is given back next is allocated anew before the operation is over; the new block then.
    static TAKES_AGAIN: Cell<bool> = const { Cell::new(false) };
    static GIVEN_BACK: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
    static TAKEN: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// The system, which notes what it is asked for.
struct Noting;

/// What another thread might do as soon as a block was given back.
fn take_again(block: *mut u8, layout: Layout) {
    GIVEN_BACK.set(block);
    // SAFETY: a layout that was allocated with is not of size zero.
    TAKEN.set(unsafe { ALLOC.alloc(layout) });
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
        if TAKES_AGAIN.replace(false) {
            return take_again(address, layout);
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(address, layout) }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        FREED.set(Some(layout));
        ASKED.set(Layout::from_size_align(new_size, layout.align()).ok());
        if TAKES_AGAIN.replace(false) {
            // SAFETY: the caller's promise; what is in it is nobody's business here.
            let new = unsafe { System.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
            take_again(address, layout);
            return new;
        }
        // SAFETY: the caller's promise.
        unsafe { System.realloc(address, layout, new_size) }
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
    heaptally::start(heaptally::config!()).expect("installed");
    sizes();
    zeroed_pages();
    taken_again();
    freed_twice();
    assert_conserved("tracking");
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
    let layout = |size| Layout::from_size_align(size, 16).expect("a valid layout");
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
    let layout = |size| Layout::from_size_align(size, 16).expect("a valid layout");
    let change = |allocated: [u64; 2], freed: [u64; 2]| Counts {
        allocated_blocks: allocated[0],
        allocated_bytes: allocated[1],
        freed_blocks: freed[0],
        freed_bytes: freed[1],
    };
    // SAFETY: not of size zero, resized and freed with the layout it has.
    unsafe {
        let block = alloc(layout(4000));
        TAKES_AGAIN.set(true);
        let ((), counted) = heaptally::measure(|| dealloc(block, layout(4000)));
        assert_eq!((counted, TAKEN.get()), (change([1, 4000], [1, 4000]), block));

        TAKES_AGAIN.set(true);
        let (moved, counted) = heaptally::measure(|| realloc(block, layout(4000), 9000));
        assert_eq!((counted, TAKEN.get()), (change([2, 13_000], [1, 4000]), block));

        let ((), counted) = heaptally::measure(|| {
            dealloc(block, layout(4000));
            dealloc(moved, layout(9000));
        });
        assert_eq!(counted, change([0, 0], [2, 13_000]));
    }
}

/// The system would end the process, so only heaptally is told: by a block of the system's at the same address, that it
/// has not served.
fn freed_twice() {
    let layout = Layout::from_size_align(40_000, 16).expect("a valid layout");
    // SAFETY: the second block is one of libc's, which is where the inner allocator's go, and each is freed once.
    unsafe {
        let block = alloc_zeroed(layout);
        dealloc(block, layout);
        let other: *mut u8 = libc::malloc(layout.size()).cast();
        assert_eq!(other, block, "the same memory, which it is because nobody else wants some of this size");
        let ((), counted) = heaptally::measure(|| dealloc(other, layout));
        assert_eq!(counted, Counts::ZERO);
    }
    let unknown = assert_conserved("freed twice").function(SiteKind::UnknownFrees.label()).map(|row| row.counts());
    assert_eq!(unknown, Some(Counts { freed_blocks: 1, freed_bytes: 40_000, ..Counts::ZERO }));
}
