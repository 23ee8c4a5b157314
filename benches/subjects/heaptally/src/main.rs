//! The workloads on heaptally over the system's allocator, with default settings.
//!
//! After the timing the process takes a snapshot, and fails if the numbers are not conserved or if any block was
//! allocated without being charged to a stack: fast and wrong is no result.

#![forbid(unsafe_code)]

use heaptally::{SiteKind, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

fn main() {
    workloads::run(start, end);
}

fn start() {
    heaptally::start(heaptally::config!()).expect("heaptally starts");
}

fn end() -> Result<(), String> {
    let snapshot = heaptally::snapshot();
    snapshot.check().map_err(|violation| format!("not conserved: {violation}"))?;
    for site in snapshot.sites() {
        // Blocks ever allocated, not only live ones: most workloads have freed everything by now.
        let blocks = site.counts().allocated_blocks;
        if matches!(site.kind(), SiteKind::NoStack | SiteKind::Overflow | SiteKind::Teardown | SiteKind::Untagged) && blocks > 0 {
            return Err(format!("unattributed: {} allocated {blocks} blocks", site.function()));
        }
    }
    Ok(())
}
