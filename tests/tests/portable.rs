//! Where there is no engine: totals and `measure` are exact, and `start` says so.
#![cfg(heaptally_portable)]

use std::alloc::{Layout, alloc_zeroed, dealloc, realloc};
use std::hint::black_box;
use std::thread;

use heaptally::{Config, Counts, SiteKind, StartError, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

#[test]
fn start_is_refused_and_everything_else_works() {
    let error = heaptally::start(Config::new().modules(["portable"])).unwrap_err();
    assert!(matches!(error, StartError::Unsupported));
    assert_eq!(
        error.to_string(),
        "this platform has totals and `measure` only; sites need Linux on x86-64 with glibc, leave out the call of start elsewhere"
    );
    assert!(heaptally::tally().is_none());
    // What is wrong with a configuration is wrong everywhere.
    assert!(matches!(heaptally::start(Config::new().max_depth(0)), Err(StartError::Depth(0))));

    let ((), counted) = heaptally::measure(|| {
        let layout = |bytes| Layout::from_size_align(bytes, 8).unwrap();
        // SAFETY: layouts are not of size zero, each block is used with the one it has, and freed once.
        unsafe { dealloc(realloc(alloc_zeroed(layout(16)), layout(16), 4000), layout(4000)) };
        drop(black_box(Vec::<u8>::with_capacity(black_box(30))));
    });
    // 16 + 4,000 + 30.
    assert_eq!(counted, Counts { allocated_blocks: 3, allocated_bytes: 4046, freed_blocks: 3, freed_bytes: 4046 });

    let region = heaptally::Region::new();
    let of_all = heaptally::ProcessRegion::with_sites();
    let kept = black_box(Vec::<u8>::with_capacity(black_box(1 << 26)));
    assert_eq!(region.change().live_bytes() >> 26, 1);
    assert_eq!((region.change().allocated_bytes >> 26, of_all.change().allocated_bytes >> 26), (1, 1));
    drop(kept);
    assert_eq!(region.change().freed_bytes >> 26, 1);
    assert!(of_all.report().diff().is_none());

    // More than whatever else happens in this process.
    const BYTES: u64 = 100 << 20;
    let before = heaptally::totals();
    let kept = thread::spawn(|| black_box(Vec::<u8>::with_capacity(BYTES as usize))).join().unwrap();
    let live = heaptally::totals().live_bytes() - before.live_bytes();
    assert!((BYTES..BYTES + (1 << 20)).contains(&live), "{live}");
    assert_eq!(ALLOC.live_bytes(), heaptally::totals().live_bytes());
    drop(kept);

    // Says on the standard error stream that there are no functions here, and goes on.
    heaptally::leaktracer::init_symbol_table(&["portable"]);
    let names =
        heaptally::leaktracer::with_symbol_table(|table| table.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert_eq!(names.unwrap(), ["<unknown>"]);

    let snapshot = heaptally::snapshot();
    assert_eq!(snapshot.check(), Ok(()));
    let kinds: Vec<SiteKind> = snapshot.sites().iter().map(|site| site.kind()).collect();
    assert_eq!(kinds, [SiteKind::BeforeStart]);
    assert_eq!(snapshot.sites()[0].counts(), snapshot.totals().counts());
}
