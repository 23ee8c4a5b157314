//! Libraries that are loaded, used and unloaded, one after the other at the same place: no stack through one is ever
//! taken for one through another, or walked by its rules.

#[path = "common/captures.rs"]
mod captures;
#[path = "common/conserved.rs"]
mod conserved;
#[path = "common/plugin.rs"]
mod plugin;
#[path = "common/watchdog.rs"]
mod watchdog;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::thread;

use captures::{Way, assert_charged, on_two_threads, snapshot};
use heaptally::{Snapshot, TallyAlloc};
use plugin::Plugin;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    captures::main(&[
        ("one library", one_library),
        ("two at the same place", |way| two_at_the_same_place(way, ["small", "large"])),
        ("two without a build id", |way| two_at_the_same_place(way, ["small_nameless", "large_nameless"])),
        ("twins at the same place", twins_at_the_same_place),
        ("threads that load and unload", threads_that_load_and_unload),
    ]);
}

/// A block of 24 bytes, charged to this function.
#[inline(never)]
fn in_callback() {
    drop(black_box(Box::new(black_box([0_u64; 3]))));
}

/// Blocks of each of the stacks that [`in_callback`] allocated on.
fn blocks_by_stack(snapshot: &Snapshot) -> Vec<u64> {
    let sites = snapshot.sites().iter().filter(|site| site.function() == "dlopen::in_callback");
    let mut blocks: Vec<u64> = sites.map(|site| site.counts().allocated_blocks).collect();
    blocks.sort_unstable();
    blocks
}

fn one_library(way: Way) {
    heaptally::start(way.config()).unwrap();
    on_two_threads(|| {
        let plugin = Plugin::load("small");
        for _ in 0..10 {
            plugin.through(&mut || (0..50).for_each(|_| in_callback()));
            in_callback();
        }
        // Frames of the library on both sides of the program's.
        plugin.through(&mut || plugin.through(&mut in_callback));
        // Stays: what is unloaded before a stack through it is looked at has no name.
        std::mem::forget(plugin);
    });
    let snapshot = snapshot(way);
    assert_charged(&snapshot, &[("dlopen::in_callback", 2 * 10 * 51 + 2, 24)]);
    if way != Way::Fresh {
        // All but the first of each fifty.
        assert!(snapshot.captures().reused >= 2 * 10 * 49);
    }
    let through_library = snapshot.sites().iter().filter(|site| {
        let mut mappings = site.frames().filter_map(|frame| frame.mapping.as_deref());
        site.function() == "dlopen::in_callback" && mappings.any(|mapping| mapping.path.ends_with("small.so"))
    });
    assert_eq!(through_library.map(|site| site.counts().allocated_blocks).sum::<u64>(), 2 * 10 * 50 + 2);
}

const LOADS: u64 = 200;

/// The libraries have the same layout and other frames.
fn two_at_the_same_place(way: Way, names: [&str; 2]) {
    heaptally::start(way.config()).unwrap();
    captures::some_alike();
    let mut places = [BTreeSet::new(), BTreeSet::new()];
    for load in 0..LOADS {
        // Two of the one, one of the other: also one that comes back.
        let which = usize::from(load % 3 == 2);
        let plugin = Plugin::load(names[which]);
        places[which].insert(plugin.address());
        // Once, or twice.
        plugin.through(&mut || (0..=which).for_each(|_| in_callback()));
    }
    assert!(!places[0].is_disjoint(&places[1]), "never at the same place: {places:x?}");
    let snapshot = snapshot(way);
    let by_stack = blocks_by_stack(&snapshot);
    println!("places {places:x?}, blocks by stack {by_stack:?}");
    // 200 loads: 134 of the first with one block each, 66 of the second with two.
    assert_charged(&snapshot, &[("dlopen::in_callback", 134 + 2 * 66, 24)]);
    // The same library at the same place is the same again, or there would be stacks without end.
    assert!(by_stack.len() <= 4 * (places[0].len() + places[1].len()), "{by_stack:?}");
    assert!(are_told_apart(&by_stack), "{by_stack:?}");
}

/// Whether some stacks add up to the 134 blocks of the first library.
fn are_told_apart(by_stack: &[u64]) -> bool {
    let sums = by_stack
        .iter()
        .fold(BTreeSet::from([0]), |sums, blocks| sums.iter().flat_map(|sum| [*sum, sum + blocks]).collect());
    sums.contains(&134)
}

/// All words and registers are those of before. Nothing is allocated meanwhile, so that the stack captured last is that of
/// the other library: only the library tells them apart.
fn twins_at_the_same_place(way: Way) {
    let paths = ["small", "small_twin"].map(Plugin::path);
    heaptally::start(way.config()).unwrap();
    captures::some_alike();
    let mut places = [0; 2];
    for load in 0..LOADS {
        let which = usize::from(load % 3 == 2);
        let plugin = Plugin::load_from(&paths[which]);
        places[which] = plugin.address();
        plugin.through(&mut in_callback);
    }
    assert_eq!(places[0], places[1], "the system loads them where the last one was");
    let snapshot = snapshot(way);
    let by_stack = blocks_by_stack(&snapshot);
    // 200 loads, of which 134 of the first.
    assert_charged(&snapshot, &[("dlopen::in_callback", 200, 24)]);
    assert!(are_told_apart(&by_stack), "{by_stack:?}");
}

fn threads_that_load_and_unload(way: Way) {
    heaptally::start(way.config()).unwrap();
    captures::some_alike();
    let threads = ["small", "large", "small_nameless", "large_nameless"].map(|name| {
        thread::spawn(move || {
            for load in 0..100 {
                let plugin = Plugin::load(name);
                for _ in 0..load % 5 {
                    plugin.through(&mut in_callback);
                }
                in_callback();
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Of 100 loads a fifth each with 0, 1, 2, 3 and 4 blocks, and one outside; four threads.
    assert_charged(&snapshot(way), &[("dlopen::in_callback", 4 * (20 * 10 + 100), 24)]);
}
