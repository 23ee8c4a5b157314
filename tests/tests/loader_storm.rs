//! Threads that hold the loader's lock nearly all the time, and allocate under it, while others allocate on new stacks and
//! snapshots are made; and constructors of libraries that wait, under that lock, for a thread whose first allocation it is.
//! Nobody waits for ever, and every block has its row.
#![cfg(not(heaptally_portable))]

#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::ffi::{CString, c_int, c_void};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use std::{mem, ptr};

use conserved::quiet_snapshot;
use heaptally::{Config, Counts, SiteKind, Snapshot, TallyAlloc};
use heaptally_tests::stacks;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// Times that the library is loaded, each with a thread that allocates so many blocks.
const LOADS: u64 = 30;
const BLOCKS: u64 = 20;
/// What the others have done at least when it is over.
const WALKS: u64 = 200;
const NEW_STACKS: u64 = 500;
const SNAPSHOTS: u64 = 3;

static OVER: AtomicBool = AtomicBool::new(false);
static UNDER_LOCK: AtomicU64 = AtomicU64::new(0);
static ON_NEW_STACKS: AtomicU64 = AtomicU64::new(0);
static SNAPSHOTS_MADE: AtomicU64 = AtomicU64::new(0);

/// 24 bytes, freed at once; the loader's lock is held.
extern "C" fn under_lock(_: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    drop(black_box(Box::new(black_box([0_u64; 3]))));
    UNDER_LOCK.fetch_add(1, Ordering::SeqCst);
    // One of the libraries is enough. Lets others have the lock, which is given to whoever is there.
    thread::yield_now();
    1
}

/// 40 bytes each, freed at once; a thread's first allocations, while another waits for it and holds the loader's lock.
extern "C" fn in_constructor() {
    for _ in 0..BLOCKS {
        drop(black_box(Box::new(black_box([0_u64; 5]))));
    }
}

/// 56 bytes, freed at once.
#[inline(never)]
fn leaf() {
    drop(black_box(Box::new(black_box([0_u64; 7]))));
}

fn walk_until_over() {
    while !OVER.load(Ordering::SeqCst) {
        // SAFETY: the callback has the required type, and does not panic.
        unsafe { libc::dl_iterate_phdr(Some(walker), ptr::null_mut()) };
    }
}

/// # Safety
///
/// None: it ignores what it is given.
unsafe extern "C" fn walker(info: *mut libc::dl_phdr_info, size: usize, data: *mut c_void) -> c_int {
    under_lock(info, size, data)
}

fn allocate_until_over(first: usize) {
    for number in first.. {
        if OVER.load(Ordering::SeqCst) {
            return;
        }
        stacks::at(number, 6, &mut leaf);
        ON_NEW_STACKS.fetch_add(1, Ordering::SeqCst);
        if number % 4 == 0 {
            // Bounds the number of stacks, which unoptimized code is slow to store.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn read_until_over() {
    while !OVER.load(Ordering::SeqCst) {
        assert_eq!(heaptally::snapshot().check(), Ok(()));
        SNAPSHOTS_MADE.fetch_add(1, Ordering::SeqCst);
    }
}

/// Opens a library of `tests/build.rs`.
fn open(name: &str, flags: c_int) -> *mut c_void {
    let path = CString::new(format!("{}/{name}.so", env!("PLUGINS"))).expect("no zero");
    // SAFETY: its constructor, if it has one, is this test's.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | flags) };
    assert!(!handle.is_null(), "{path:?}");
    handle
}

/// Leads from the library's constructor to [`in_constructor`].
fn open_relay() {
    let relay = open("relay", libc::RTLD_GLOBAL);
    // SAFETY: the function of that name, which has this type.
    unsafe {
        let relay_to = libc::dlsym(relay, c"relay_to".as_ptr());
        assert!(!relay_to.is_null());
        mem::transmute::<*mut c_void, extern "C" fn(extern "C" fn())>(relay_to)(in_constructor);
    }
}

/// Blocks of `bytes` each, allocated and freed by what the function is named.
#[track_caller]
fn assert_freed(snapshot: &Snapshot, function: &str, blocks: u64, bytes: u64) {
    let counts = snapshot.function(function).map_or(Counts::ZERO, |row| row.counts());
    let all = Counts {
        allocated_blocks: blocks,
        allocated_bytes: bytes * blocks,
        freed_blocks: blocks,
        freed_bytes: bytes * blocks,
    };
    assert_eq!(counts, all, "{function}");
}

#[test]
fn nobody_waits_for_the_loader() {
    watchdog::abort_unless_done_in(Duration::from_secs(90), "loader_storm");
    heaptally::start(Config::new().modules(["loader_storm"])).unwrap();
    // What is symbolized the first time takes its time.
    heaptally::snapshot();
    open_relay();
    thread::scope(|scope| {
        scope.spawn(walk_until_over);
        scope.spawn(walk_until_over);
        scope.spawn(|| allocate_until_over(0));
        scope.spawn(|| allocate_until_over(500_000));
        scope.spawn(read_until_over);
        for _ in 0..LOADS {
            // SAFETY: opened just now; nothing of it is in use.
            assert_eq!(unsafe { libc::dlclose(open("constructed", libc::RTLD_LOCAL)) }, 0);
        }
        let least = [(&UNDER_LOCK, WALKS), (&ON_NEW_STACKS, NEW_STACKS), (&SNAPSHOTS_MADE, SNAPSHOTS)];
        while least.iter().any(|(done, least)| done.load(Ordering::SeqCst) < *least) {
            thread::sleep(Duration::from_millis(5));
        }
        OVER.store(true, Ordering::SeqCst);
    });
    let snapshot = quiet_snapshot().unwrap();
    assert_freed(&snapshot, "loader_storm::in_constructor", LOADS * BLOCKS, 40);
    assert_freed(&snapshot, "loader_storm::under_lock", UNDER_LOCK.load(Ordering::SeqCst), 24);
    assert_freed(&snapshot, "loader_storm::leaf", ON_NEW_STACKS.load(Ordering::SeqCst), 56);
    for kind in [SiteKind::NoStack, SiteKind::Overflow] {
        assert!(snapshot.function(kind.label()).is_none(), "{}", snapshot.losses());
    }
}
