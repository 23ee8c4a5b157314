//! The peak is that of the program's blocks alone, whichever way they take through the hook, and whoever frees
//! heaptally's.
#![cfg(not(heaptally_portable))]

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use heaptally::{Config, ProcessRegion, Symbolize, TallyAlloc};
use heaptally_tests::stacks;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const MIB: i64 = 1 << 20;
/// Far more than all threads may keep to themselves.
const BYTES: i64 = 8 * MIB;
/// What this file keeps beside.
const BESIDE: i64 = 128 << 10;
const STACKS: usize = 3000;

#[expect(clippy::vec_box, reason = "each is a block of its own")]
#[inline(never)]
fn small_blocks() -> Vec<Box<[u8; 2048]>> {
    black_box((0..BYTES / 2048).map(|_| Box::new([0; 2048])).collect())
}

/// One block after the other, each of twice the size of the one before.
#[inline(never)]
fn grown_block() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    while bytes.len() < BYTES as usize {
        bytes.push(0_u8);
    }
    black_box(bytes)
}

/// A block that a thread allocates when its state is given back, in the last round of destructors.
#[inline(never)]
fn block_of_a_teardown() -> Vec<u8> {
    static BLOCK: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn destructor(rounds_left: *mut c_void) {
        if rounds_left.addr() > 1 {
            return set(rounds_left.map_addr(|rounds| rounds - 1));
        }
        BLOCK.store(
            Vec::<u8>::leak(Vec::with_capacity(BYTES as usize)).as_mut_ptr().expose_provenance(),
            Ordering::Relaxed,
        );
    }

    fn set(rounds_left: *mut c_void) {
        static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
        let key = *KEY.get_or_init(|| {
            let mut key = 0;
            // SAFETY: writes the key; the destructor has the required signature.
            assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(destructor)) }, 0);
            key
        });
        // SAFETY: a live key.
        unsafe { libc::pthread_setspecific(key, rounds_left) };
    }

    thread::spawn(|| set(ptr::without_provenance_mut(4))).join().unwrap();
    let block = ptr::with_exposed_provenance_mut(BLOCK.load(Ordering::Relaxed));
    // SAFETY: an empty vector's parts, of which there is one.
    unsafe { Vec::from_raw_parts(block, 0, BYTES as usize) }
}

fn own_live_bytes() -> i64 {
    heaptally::snapshot().function("(heaptally itself)").unwrap().counts().live_bytes()
}

fn program_live_bytes() -> i64 {
    let snapshot = heaptally::snapshot();
    snapshot.totals().counts().live_bytes() - snapshot.function("(heaptally itself)").unwrap().counts().live_bytes()
}

fn assert_peak(expected: i64, what: &str) {
    let peak = heaptally::snapshot().peak().unwrap();
    let off = peak.live_bytes.cast_signed() - expected;
    let slack = peak.error_bytes.cast_signed() + BESIDE;
    assert!(off.abs() <= slack && slack < BYTES / 4, "{what}: {off} off {expected}, may be {slack}");
}

#[test]
fn the_peak_is_that_of_the_program_alone() {
    heaptally::start(Config::new().symbolize(Symbolize::Off)).unwrap();
    let begin = ProcessRegion::with_sites();
    let mut blocks = Vec::with_capacity(STACKS);
    for number in 0..STACKS {
        stacks::at(number, 4, &mut || blocks.push(black_box(Box::new([0_u8; 24]))));
    }
    let base = program_live_bytes();

    // Heaptally's own: allocated by the aggregator and by this thread; freed by this one, when they are old.
    let mut own: Vec<_> = (0..64).map(|_| (begin.report(), heaptally::snapshot())).collect();
    let own_bytes = own_live_bytes();
    assert!(own_bytes > 2 * BYTES, "{own_bytes}");
    // Makes the thread tell what it has to tell.
    drop(black_box(Vec::<u8>::with_capacity(200_000)));
    assert_peak(base, "heaptally's own");
    thread::sleep(Duration::from_millis(600));
    own.clear();
    assert!(own_live_bytes() < own_bytes - BYTES);

    // Each way thrice: what is not told at one of its ends adds up.
    for round in 0..3 {
        drop(small_blocks());
        assert_peak(base + BYTES, &format!("small blocks, round {round}"));
    }
    for round in 0..3 {
        drop(grown_block());
        assert_peak(base + BYTES, &format!("a block that grows, round {round}"));
    }
    for round in 0..3 {
        // This thread may have nothing else to tell for a while.
        let mut shrunk = Vec::<u8>::with_capacity(BYTES as usize);
        shrunk.shrink_to(black_box(100));
        thread::spawn(|| drop(black_box(Vec::<u8>::with_capacity(BYTES as usize)))).join().unwrap();
        assert_peak(base + BYTES, &format!("a block that shrinks, round {round}"));
    }
    // Two at once, so that they are the highest.
    for round in 0..3 {
        let held = block_of_a_teardown();
        let other = block_of_a_teardown();
        assert_peak(base + 2 * BYTES, &format!("blocks of a teardown, round {round}"));
        drop((held, other));
    }
    // And nothing was left untold meanwhile.
    let held = (small_blocks(), small_blocks(), small_blocks());
    assert_peak(base + 3 * BYTES, "at the end");
    drop((held, blocks));
}
