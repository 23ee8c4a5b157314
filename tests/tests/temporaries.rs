//! Which blocks are temporaries, where addresses are used again: by other threads, and by those that come after them.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/regions.rs"]
mod regions;

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;

use conserved::quiet_snapshot;
use heaptally::{Config, Lifetimes, TallyAlloc};
use regions::{Place, Regions, at};

#[global_allocator]
static ALLOC: TallyAlloc<Regions> = TallyAlloc::new(Regions);

const BYTES: usize = 500;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// The block at this place, of which nothing but the address is used.
#[inline(never)]
fn allocate(offset: usize) -> usize {
    // SAFETY: not of size zero.
    let block = at(Place::Region(0, offset), || black_box(unsafe { ALLOC.alloc(layout(BYTES)) }));
    assert!(!block.is_null());
    block.expose_provenance()
}

fn free(block: usize) {
    // SAFETY: allocated with this layout, and freed once.
    unsafe { ALLOC.dealloc(ptr::with_exposed_provenance_mut(block), layout(BYTES)) };
}

/// Of all blocks of [`allocate`].
fn lifetimes() -> Lifetimes {
    let rows = quiet_snapshot().unwrap().by_function();
    let of_it = rows.iter().filter(|row| row.function().starts_with("temporaries::allocate"));
    of_it.fold(Lifetimes::ZERO, |sum, row| sum + row.lifetimes())
}

/// Runs on a thread of which std knows nothing, which allocates nothing beside.
fn on_a_bare_thread(body: extern "C" fn(*mut c_void) -> *mut c_void, argument: usize) {
    let mut thread = 0;
    // SAFETY: the body has the required type; the thread is joined.
    unsafe {
        assert_eq!(libc::pthread_create(&mut thread, ptr::null(), body, ptr::without_provenance_mut(argument)), 0);
        assert_eq!(libc::pthread_join(thread, ptr::null_mut()), 0);
    }
}

extern "C" fn allocating(offset: *mut c_void) -> *mut c_void {
    allocate(offset.addr());
    ptr::null_mut()
}

extern "C" fn freeing(block: *mut c_void) -> *mut c_void {
    free(block.addr());
    ptr::null_mut()
}

/// Of what `f` allocates and frees.
fn change(f: impl FnOnce()) -> Lifetimes {
    let before = lifetimes();
    f();
    lifetimes() - before
}

#[test]
fn an_address_that_is_used_again_makes_no_temporary() {
    regions::prepare();
    heaptally::start(Config::new().modules(["temporaries"])).unwrap();
    // A thread counts on shared lines first, then on its own.
    for _ in 0..20 {
        // The place of a block that was a temporary has another thread's then.
        let reused = change(|| {
            let block = allocate(0);
            free(block);
            on_a_bare_thread(allocating, 0);
            free(block);
        });
        assert_eq!((reused.temporaries, reused.freed_by_age.iter().sum::<u64>()), (1, 2));

        // The last block of a thread that has ended, and one in its place that the next one with its state frees.
        let inherited = change(|| {
            on_a_bare_thread(allocating, 4096);
            let block = allocate(8192) - 4096;
            free(block);
            assert_eq!(allocate(4096), block);
            on_a_bare_thread(freeing, block);
        });
        assert_eq!((inherited.temporaries, inherited.freed_by_age.iter().sum::<u64>()), (0, 2));
        free(allocate(8192));
    }
    a_block_that_is_not_resized_stays_as_old_as_it_was();
}

fn a_block_that_is_not_resized_stays_as_old_as_it_was() {
    let refused = change(|| {
        let block = allocate(12_288);
        // SAFETY: as in `free`; the new size is not zero.
        let resized = at(Place::Nowhere, || unsafe {
            ALLOC.realloc(ptr::with_exposed_provenance_mut(block), layout(BYTES), 2 * BYTES)
        });
        assert!(resized.is_null());
        free(block);
    });
    assert!(refused.allocated_births > 0);
    assert_eq!(refused.freed_births, refused.allocated_births);
}
