//! Blocks of 256 bytes and more: as large for the allocator inside as for the program, and untouched.
#![cfg(not(heaptally_portable))]

use std::alloc::{GlobalAlloc, Layout, System, alloc_zeroed, dealloc, realloc};
use std::cell::Cell;

use heaptally::{Counts, SiteKind, TallyAlloc};
use heaptally_tests::{Block, assert_conserved, resident_bytes};

#[global_allocator]
static ALLOC: TallyAlloc<Noting> = TallyAlloc::new(Noting);

thread_local! {
    /// What the system was last asked for by this thread, and what was last given back.
    static ASKED: Cell<Option<Layout>> = const { Cell::new(None) };
    static FREED: Cell<Option<Layout>> = const { Cell::new(None) };
}

/// The system, which notes what it is asked for.
struct Noting;

// SAFETY: hands everything to the system unchanged; thread-locals without destructor neither allocate nor unwind.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(Some(layout));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ASKED.set(Some(layout));
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        FREED.set(Some(layout));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(address, layout) }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        FREED.set(Some(layout));
        ASKED.set(Layout::from_size_align(new_size, layout.align()).ok());
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
    heaptally::start(heaptally::config!()).expect("installed");
    sizes();
    zeroed_pages();
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
