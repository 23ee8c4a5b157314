//! The first tags of 256 MiB of addresses, wanted twice at once, while the system gives memory for them and while it does
//! not: one maps it, or none does, and every block keeps its tag or is counted without. By several threads; and by one
//! that is interrupted where it asks the system, since threads are rarely there at once.
#![cfg(not(heaptally_portable))]

#[path = "common/bump.rs"]
mod bump;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/own_mmap.rs"]
mod own_mmap;
#[path = "common/placing.rs"]
mod placing;
#[path = "common/refusal.rs"]
mod refusal;

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::hint::{black_box, spin_loop};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use conserved::quiet_snapshot;
use heaptally::{Counts, SiteKind, Symbolize, TallyAlloc};
use placing::{Place, Placing};
use refusal::Refusal;

#[global_allocator]
static ALLOC: TallyAlloc<Placing> = TallyAlloc::new(Placing);

const THREADS: usize = 3;
const ROUNDS: usize = 100;
/// Of a thread in a round.
const BLOCKS: usize = 4;
const BYTES: usize = 1000;
/// What a region's tags take of address space.
const LEAF_BYTES: usize = (8 << 20) + 4096;

fn layout() -> Layout {
    Layout::from_size_align(BYTES, 16).unwrap()
}

/// Threads that wait for each other, without a system call as long as they do so at once.
struct Gate(AtomicUsize);

impl Gate {
    fn pass(&self) {
        let passage = self.0.fetch_add(1, Ordering::SeqCst) / THREADS + 1;
        let mut spins = 0;
        while self.0.load(Ordering::SeqCst) < passage * THREADS {
            spins += 1;
            if spins % 100 == 0 {
                thread::yield_now();
            }
            spin_loop();
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Memory {
    IsThere,
    /// One of the threads lets the system refuse it to all for its first blocks of a round.
    ComesAndGoes,
}

/// Rounds, each in a region of its own: every thread allocates there, and frees what its neighbour has allocated.
fn storm(memory: Memory) {
    let gate = Gate(AtomicUsize::new(0));
    let blocks: [[AtomicUsize; BLOCKS]; THREADS] = Default::default();
    let work = |number: usize| {
        placing::set(Place::Region);
        for round in 0..ROUNDS {
            if number == 0 {
                placing::begin_region();
            }
            gate.pass();
            let mut refusal = (memory == Memory::ComesAndGoes && round % THREADS == number).then(Refusal::begin);
            for (nth, block) in blocks[number].iter().enumerate() {
                if nth == BLOCKS / 2 {
                    refusal = None;
                }
                // SAFETY: not of size zero.
                block.store(black_box(unsafe { alloc(layout()) }).expose_provenance(), Ordering::Relaxed);
            }
            drop(refusal);
            gate.pass();
            for block in &blocks[(number + 1) % THREADS] {
                let block = std::ptr::with_exposed_provenance_mut(block.load(Ordering::Relaxed));
                // SAFETY: allocated with this layout by the neighbour, and freed once.
                unsafe { dealloc(block, layout()) };
            }
            gate.pass();
        }
        placing::set(Place::Arena);
    };
    thread::scope(|scope| (0..THREADS).for_each(|number| drop(scope.spawn(move || work(number)))));
}

#[test]
fn who_needs_the_same_tags_at_once_shares_them() {
    storm_with_memory();
    heaptally::start(heaptally::config!().symbolize(Symbolize::Off)).unwrap();
    storm_with_memory();

    assert_eq!(interrupted([Answer::Maps, Answer::Maps]), (0, 1));
    assert_eq!(interrupted([Answer::Refuses, Answer::Maps]), (0, 1));
    // The second block has none; then the first has none either, and the mapping is given back.
    assert_eq!(interrupted([Answer::Maps, Answer::Refuses]), (2, 0));
    assert_eq!(interrupted([Answer::Maps, Answer::Maps]), (0, 1));

    let before = untagged_blocks();
    storm(Memory::ComesAndGoes);
    assert!(untagged_blocks() > before);
}

fn storm_with_memory() {
    let before = KEPT.load(Ordering::Relaxed);
    storm(Memory::IsThere);
    // One mapping a region: who came second has given its own back.
    assert_eq!(KEPT.load(Ordering::Relaxed) - before, ROUNDS);
}

/// Whether the system maps what it is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Maps,
    Refuses,
}

/// Mappings for the tags of regions that were made and not given back.
static KEPT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// What becomes of the thread's next mapping for tags, and of the one that is wanted meanwhile.
    static ANSWERS: Cell<Option<[Answer; 2]>> = const { Cell::new(None) };
    static ANSWER: Cell<Answer> = const { Cell::new(Answer::Maps) };
    /// The block that was allocated meanwhile.
    static MEANWHILE: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// What [`own_mmap`] asks.
fn is_refused(len: usize, _kind: c_int) -> bool {
    if !is_for_a_region(len) {
        return false;
    }
    let mut answer = ANSWER.get();
    if let Some([first, meanwhile]) = ANSWERS.take() {
        ANSWER.set(meanwhile);
        // SAFETY: not of size zero.
        MEANWHILE.set(unsafe { alloc(layout()) });
        answer = first;
    }
    // While the system refuses, too, which it does only where nobody asks how many there are.
    KEPT.fetch_add(usize::from(answer == Answer::Maps), Ordering::Relaxed);
    answer == Answer::Refuses
}

/// # Safety
///
/// As libc's.
// SAFETY: has the signature of the function whose place it takes, and does what that one does.
#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(address: *mut c_void, len: usize) -> c_int {
    if is_for_a_region(len) {
        KEPT.fetch_sub(1, Ordering::Relaxed);
    }
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_munmap, address, len) as c_int }
}

fn is_for_a_region(len: usize) -> bool {
    len == LEAF_BYTES && placing::place() == Place::Region
}

/// Two blocks of a new region, of which the second is allocated while the first is being. Says how many have no tag, and
/// how many mappings for tags have stayed.
fn interrupted(answers: [Answer; 2]) -> (u64, usize) {
    let before = (untagged_blocks(), KEPT.load(Ordering::Relaxed));
    placing::begin_region();
    ANSWERS.set(Some(answers));
    // SAFETY: not of size zero, and freed with this layout once.
    placing::at(Place::Region, || unsafe {
        let block = black_box(alloc(layout()));
        let meanwhile = MEANWHILE.replace(ptr::null_mut());
        assert!(!block.is_null() && !meanwhile.is_null());
        dealloc(meanwhile, layout());
        dealloc(block, layout());
    });
    ANSWER.set(Answer::Maps);
    (untagged_blocks() - before.0, KEPT.load(Ordering::Relaxed) - before.1)
}

/// How many there were so far, none of which is left.
fn untagged_blocks() -> u64 {
    let snapshot = quiet_snapshot().unwrap();
    let counts = snapshot.function(SiteKind::Untagged.label()).map_or(Counts::ZERO, |row| row.counts());
    assert_eq!((counts.live_blocks(), counts.live_bytes()), (0, 0));
    assert_eq!(snapshot.losses().unknown_frees.blocks, 0);
    counts.allocated_blocks
}
