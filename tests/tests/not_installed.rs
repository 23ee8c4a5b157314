//! A program that forgot the global allocator is told so, and goes on.

use heaptally::{Counts, SiteKind};

#[test]
#[cfg(not(heaptally_portable))]
fn start_says_what_to_declare_and_the_program_goes_on() {
    for _ in 0..2 {
        let error = heaptally::start(heaptally::Config::new().modules(["not_installed"])).unwrap_err();
        assert!(matches!(error, heaptally::StartError::NotInstalled));
        assert_eq!(
            error.to_string(),
            "allocations do not pass through heaptally; declare `#[global_allocator] static ALLOC: heaptally::TallyAlloc = \
             heaptally::TallyAlloc::system();` in the program"
        );
    }
    // Says the same on the standard error stream, and has nothing to show.
    heaptally::leaktracer::init_symbol_table(&["not_installed"]);
    assert_eq!(heaptally::leaktracer::with_symbol_table(|table| table.iter().count()).unwrap(), 0);
    assert!(heaptally::tally().is_none());
}

#[test]
fn counts_are_zero() {
    let (block, counted) = heaptally::measure(|| vec![1_u8; 100]);
    assert_eq!((block.len(), counted), (100, Counts::ZERO));
    assert_eq!(heaptally::totals().counts(), Counts::ZERO);
    let snapshot = heaptally::snapshot();
    assert_eq!(snapshot.check(), Ok(()));
    assert!(snapshot.sites().iter().all(|site| site.kind() == SiteKind::BeforeStart && site.counts().is_zero()));
}
