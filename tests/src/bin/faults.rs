//! A program with one fault in it, which a checker of memory must report through heaptally, or with none, of which it must
//! report nothing.
//!
//! Run by `tests/asan.sh` and `tests/memcheck.sh`: `faults NAME`, where NAME is that of a function below or `none`, or `faults`
//! for the names. The fault comes once before tracking is started and once after, and is reported in the function of its name;
//! with `faults NAME on`, after it alone. What only heaptally sees, it prints.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;

use heaptally::TallyAlloc;
use heaptally_tests::{assert_conserved, stacks, workload};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// With its tag behind it, and without.
const SMALL_BYTES: usize = 24;
const LARGE_BYTES: usize = 1000;
const TAG_BYTES: usize = 8;

/// What is done wrong.
const FAULTS: [(&str, fn()); 9] = [
    ("use_after_free", use_after_free),
    ("use_after_free_large", use_after_free_large),
    ("overrun_into_tag", overrun_into_tag),
    ("overrun_beyond_tag", overrun_beyond_tag),
    ("overrun_large", overrun_large),
    ("underrun", underrun),
    ("double_free", double_free),
    ("double_free_large", double_free_large),
    ("uninitialised", uninitialised),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        return FAULTS.iter().for_each(|(name, _)| println!("{name}"));
    };
    let fault = FAULTS.iter().find(|(known, _)| *known == name).map(|&(_, fault)| fault);
    assert!(fault.is_some() || name == "none", "no such fault: {name}");
    if arguments.next().is_none() {
        fault.unwrap_or(work)();
    }
    heaptally::start(heaptally::config!()).expect("installed");
    fault.unwrap_or(work)();
    if fault.is_none() {
        let snapshot = assert_conserved("at the end");
        println!("{} blocks on {} stacks", snapshot.totals().allocated_blocks, snapshot.sites().len());
    }
    // A snapshot takes memcheck many seconds.
    if fault.is_none() || name == "overrun_into_tag" {
        println!("frees without a known allocation: {}", heaptally::snapshot().losses().unknown_frees.blocks);
    }
}

/// All that the allocator does, many stacks, and threads that end.
fn work() {
    workload::churn(7, 1000);
    workload::zeroed(50);
    workload::short_threads(16);
    for number in 0..300 {
        // Each twice, one after the other, and a few again and again.
        for number in [number, number, number % 5] {
            stacks::at(number, 3, &mut || drop(black_box(vec![number; 1 + number % 99])));
        }
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("small")
}

fn block(size: usize) -> *mut u8 {
    // SAFETY: not of zero size.
    let block = unsafe { alloc(layout(size)) };
    assert!(!block.is_null());
    black_box(block)
}

fn free(block: *mut u8, size: usize) {
    // SAFETY: the caller's block, allocated with this layout; but for what is wrong on purpose.
    unsafe { dealloc(block, layout(size)) };
}

fn read(block: *mut u8, offset: isize) -> u8 {
    // SAFETY: none, on purpose.
    black_box(unsafe { block.offset(offset).read() })
}

fn write(block: *mut u8, offset: usize) {
    // SAFETY: none, on purpose.
    unsafe { block.add(offset).write(black_box(0xA5)) };
}

#[inline(never)]
fn use_after_free() {
    let block = block(SMALL_BYTES);
    free(block, SMALL_BYTES);
    read(block, 0);
}

#[inline(never)]
fn use_after_free_large() {
    let block = block(LARGE_BYTES);
    free(block, LARGE_BYTES);
    read(block, 0);
}

/// The first byte behind a small block is its tag's, and the allocator's for any checker. heaptally finds it at the free.
#[inline(never)]
fn overrun_into_tag() {
    let block = block(SMALL_BYTES);
    write(block, SMALL_BYTES);
    free(block, SMALL_BYTES);
}

#[inline(never)]
fn overrun_beyond_tag() {
    let block = block(SMALL_BYTES);
    write(block, SMALL_BYTES + TAG_BYTES);
    free(block, SMALL_BYTES);
}

#[inline(never)]
fn overrun_large() {
    let block = block(LARGE_BYTES);
    write(block, LARGE_BYTES);
    free(block, LARGE_BYTES);
}

#[inline(never)]
fn underrun() {
    let block = block(SMALL_BYTES);
    read(block, -1);
    free(block, SMALL_BYTES);
}

/// Reported where the tag is looked for.
#[inline(never)]
fn double_free() {
    let block = block(SMALL_BYTES);
    free(block, SMALL_BYTES);
    free(block, SMALL_BYTES);
}

/// The slot of a large block is empty then, and the block goes on to the allocator inside.
#[inline(never)]
fn double_free_large() {
    let block = block(LARGE_BYTES);
    free(block, LARGE_BYTES);
    free(block, LARGE_BYTES);
}

/// For memcheck alone: what a fresh block holds decides something.
#[inline(never)]
fn uninitialised() {
    let block = block(SMALL_BYTES);
    if read(block, 3) == 7 {
        println!("seven");
    }
    free(block, SMALL_BYTES);
}
