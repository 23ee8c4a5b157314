//! Programs written for the crate `leaktracer` find its names, and better numbers behind them.
//!
//! One process, so one test: tracking is started once.
#![cfg(not(heaptally_portable))]

#[path = "common/watchdog.rs"]
mod watchdog;

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use heaptally::leaktracer::{self, LeaktracerAllocator, Symbol, SymbolTable};
use heaptally_tests::{assert_conserved, assert_settles};

#[global_allocator]
static ALLOCATOR: LeaktracerAllocator = LeaktracerAllocator::init();

/// Two spellings that made up for matching by the beginning of a name, a module that does not exist, and names that no
/// module can have, which are left out.
const MODULES: &[&str] = &["leaktracer::", "<leaktracer", "leak", "nowhere::at_all", "", "no module"];
const UNKNOWN: &str = "<unknown>";

/// What the crate's users have written down.
type Reading<R> = Result<R, PoisonError<MutexGuard<'static, SymbolTable>>>;

#[inline(never)]
fn a_kilobyte() -> Vec<u8> {
    black_box(vec![0; 1024])
}

mod sizes {
    use super::black_box;

    #[inline(never)]
    pub(crate) fn keep(bytes: usize) -> Vec<u8> {
        black_box(Vec::with_capacity(black_box(bytes)))
    }
}

/// Bytes and blocks of the row; `None` when there is none.
fn row(name: &str) -> Option<(usize, usize)> {
    leaktracer::with_symbol_table(|table| table.get(name).map(numbers)).unwrap()
}

fn numbers(symbol: &Symbol) -> (usize, usize) {
    (symbol.allocated(), symbol.count())
}

#[test]
fn programs_for_leaktracer_run_and_see_exact_rows() {
    watchdog::abort_unless_done_in(Duration::from_secs(120), "leaktracer");
    before_the_table_is_initialised_everything_is_unknown();
    let before = sizes::keep(3000);
    leaktracer::init_symbol_table(MODULES);
    // The first call counts.
    leaktracer::init_symbol_table(&["sizes"]);

    the_signatures_are_those_of_the_crate().unwrap();
    a_row_has_what_is_live_and_stays_when_nothing_is();
    a_block_from_before_is_unknown_until_it_is_freed(before);
    only_whole_segments_match();
    the_rows_add_up_to_allocated();
    the_allocator_adds_no_frame();
    names_are_kept_once();
    the_closure_may_do_what_it_likes();
    threads_read_while_others_allocate();
    assert_conserved("at the end");
}

fn before_the_table_is_initialised_everything_is_unknown() {
    assert!(heaptally::tally().is_none());
    let names = leaktracer::with_symbol_table(|table| table.iter().map(|(name, _)| *name).collect::<Vec<_>>()).unwrap();
    assert_eq!(names, [UNKNOWN]);
    assert_settles("all that is live", || (ALLOCATOR.allocated() as u64, heaptally::totals().live_bytes()));
}

/// Compiles, which is most of what it says.
fn the_signatures_are_those_of_the_crate() -> Result<(), Box<dyn Error>> {
    const _: LeaktracerAllocator = LeaktracerAllocator::init();
    let _: fn(&LeaktracerAllocator) -> usize = LeaktracerAllocator::allocated;
    let _: fn(&'static [&'static str]) = leaktracer::init_symbol_table;
    let _: fn(fn(&SymbolTable)) -> Reading<()> = leaktracer::with_symbol_table;
    let _: for<'a> fn(&'a SymbolTable, &'static str) -> Option<&'a Symbol> = SymbolTable::get;
    let _: [fn(&Symbol) -> usize; 2] = [Symbol::allocated, Symbol::count];
    let kept = a_kilobyte();
    let copy = leaktracer::with_symbol_table::<_, HashMap<&'static str, usize>>(|table| {
        assert!(format!("{table:?}").contains("leaktracer::a_kilobyte"));
        table.iter().map(|(name, symbol): (&&'static str, &Symbol)| (*name, symbol.allocated())).collect()
    })?;
    assert_eq!(copy["leaktracer::a_kilobyte"], kept.len());
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<(LeaktracerAllocator, SymbolTable, Symbol)>();
    Ok(())
}

fn a_row_has_what_is_live_and_stays_when_nothing_is() {
    let kept = [a_kilobyte(), a_kilobyte()];
    assert_eq!(row("leaktracer::a_kilobyte"), Some((2048, 2)));
    let [first, second] = kept;
    drop(first);
    assert_eq!(row("leaktracer::a_kilobyte"), Some((1024, 1)));
    drop(second);
    assert_eq!(row("leaktracer::a_kilobyte"), Some((0, 0)));
    assert_eq!(row("leaktracer::a_kilobyt"), None);
    // A block that moves is one block of its new size, charged to who moved it.
    let mut grown = sizes::keep(100);
    grown.reserve_exact(200);
    assert_eq!(row("leaktracer::sizes::keep"), Some((0, 0)));
    assert_eq!(row("leaktracer::a_row_has_what_is_live_and_stays_when_nothing_is"), Some((200, 1)));
}

fn a_block_from_before_is_unknown_until_it_is_freed(block: Vec<u8>) {
    let (bytes, blocks) = row(UNKNOWN).unwrap();
    drop(block);
    assert_eq!(row(UNKNOWN), Some((bytes - 3000, blocks - 1)));
}

fn only_whole_segments_match() {
    let snapshot = heaptally::snapshot();
    let modules: Vec<&str> = snapshot.modules().iter().map(|module| &*module.name).collect();
    assert_eq!(modules, ["leaktracer", "leaktracer", "leak", "nowhere::at_all"]);
    // Of equals the first is named.
    assert_eq!(snapshot.unmatched_modules().collect::<Vec<_>>(), ["leaktracer", "leak", "nowhere::at_all"]);
}

fn the_rows_add_up_to_allocated() {
    let _kept = a_kilobyte();
    assert_settles("the rows", || {
        let rows =
            leaktracer::with_symbol_table(|table| table.iter().map(|(_, symbol)| symbol.allocated()).sum::<usize>());
        (rows.unwrap(), ALLOCATOR.allocated())
    });
    let before = ALLOCATOR.allocated();
    let more = sizes::keep(5000);
    assert_settles("a block more", || (ALLOCATOR.allocated(), before + 5000));
    drop(more);
    assert_settles("and gone again", || (ALLOCATOR.allocated(), before));
    // Megabytes of debug information are in memory just after a snapshot with new names.
    let own = heaptally::snapshot().overhead().internal_live_bytes;
    assert!(own > 1 << 20 && before < 1 << 20, "{own} own, {before} of the program");
}

/// Frames that are inlined, as debug information says, take no part in unwinding; the last line of a frame is the
/// function that the code is in.
fn the_allocator_adds_no_frame() {
    let kept = a_kilobyte();
    let snapshot = heaptally::snapshot();
    let sites = snapshot.sites().iter().filter(|site| site.function() == "leaktracer::a_kilobyte");
    let mut frames = 0;
    for site in sites {
        for frame in site.frames() {
            let function = frame.lines.last().map_or("", |line| &*line.function);
            assert!(!function.contains("LeaktracerAllocator"), "{function}");
            frames += 1;
        }
    }
    assert!(frames > 5, "{frames}");
    drop(kept);
}

fn names_are_kept_once() {
    let name = || {
        let found = |table: &SymbolTable| table.iter().map(|(name, _)| *name).find(|name| name.ends_with("a_kilobyte"));
        leaktracer::with_symbol_table(found).unwrap().unwrap()
    };
    let first = name();
    assert!((0..100).all(|_| std::ptr::eq(first, name())));
}

fn the_closure_may_do_what_it_likes() {
    let in_the_closure = "leaktracer::the_closure_may_do_what_it_likes::{{closure}}";
    // The table is of before the closure, and the closure's blocks are counted like any other.
    let kept = leaktracer::with_symbol_table(|table| {
        let kept: Vec<u8> = Vec::with_capacity(black_box(700));
        assert!(table.get(in_the_closure).is_none());
        kept
    });
    assert_eq!(row(in_the_closure), Some((700, 1)));
    drop(kept);
    assert_eq!(row(in_the_closure), Some((0, 0)));

    let nested = leaktracer::with_symbol_table(|outer| {
        let kept = a_kilobyte();
        let inner = leaktracer::with_symbol_table(|inner| inner.get("leaktracer::a_kilobyte").map(numbers)).unwrap();
        assert_eq!(heaptally::snapshot().check(), Ok(()));
        drop(kept);
        (outer.get("leaktracer::a_kilobyte").map(numbers), inner)
    });
    assert_eq!(nested.unwrap(), (Some((0, 0)), Some((1024, 1))));

    let panicked = catch_unwind(|| leaktracer::with_symbol_table(|_| -> () { panic!("on purpose") }).is_ok());
    assert!(panicked.is_err());
    let kept = a_kilobyte();
    assert_eq!(row("leaktracer::a_kilobyte"), Some((1024, 1)));
    drop(kept);
}

fn threads_read_while_others_allocate() {
    const KEPT: usize = 64;
    const READINGS: usize = 30;
    static OVER: AtomicBool = AtomicBool::new(false);
    static READ: AtomicUsize = AtomicUsize::new(0);

    #[inline(never)]
    fn churn() -> Vec<Vec<u8>> {
        let mut kept = Vec::new();
        while !OVER.load(Ordering::Relaxed) {
            kept = (0..KEPT).map(|_| sizes::keep(1000)).collect();
        }
        kept
    }

    let kept: Vec<Vec<Vec<u8>>> = thread::scope(|scope| {
        let allocating: Vec<_> = (0..4).map(|_| scope.spawn(churn)).collect();
        let reading: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..READINGS {
                        // What is read under load is of some microseconds, and never below zero.
                        let (bytes, blocks) = row("leaktracer::sizes::keep").unwrap();
                        assert!(bytes < 1 << 32 && blocks < 1 << 32, "{bytes} bytes in {blocks} blocks");
                        black_box(ALLOCATOR.allocated());
                        READ.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        reading.into_iter().for_each(|thread| thread.join().unwrap());
        OVER.store(true, Ordering::Relaxed);
        allocating.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(READ.load(Ordering::Relaxed), 3 * READINGS);
    assert_eq!(row("leaktracer::sizes::keep"), Some((4 * KEPT * 1000, 4 * KEPT)));
    drop(kept);
    assert_eq!(row("leaktracer::sizes::keep"), Some((0, 0)));
}
