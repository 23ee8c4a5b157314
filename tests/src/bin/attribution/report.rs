//! What the program prints, for the harness to read: lines of fields separated by tabs, and the table for people
//! last.

use heaptally::Snapshot;

/// Prints `field`, the phase and its value for everything that the harness compares.
pub(crate) fn print(phase: &str, snapshot: &Snapshot) {
    for row in snapshot.by_function() {
        let counts = row.counts();
        println!(
            "row\t{phase}\t{:?}\t{}\t{}\t{}\t{}\t{}",
            row.kind(),
            row.function(),
            counts.allocated_blocks,
            counts.allocated_bytes,
            counts.freed_blocks,
            counts.freed_bytes
        );
    }
    let totals = snapshot.totals();
    println!(
        "totals\t{phase}\t{}\t{}\t{}\t{}",
        totals.allocated_blocks, totals.allocated_bytes, totals.freed_blocks, totals.freed_bytes
    );
    match snapshot.check() {
        Ok(()) => println!("check\t{phase}\tholds"),
        Err(violation) => println!("check\t{phase}\t{violation}"),
    }
    println!("verdict\t{phase}\t{:?}", snapshot.symbols().verdict());
    println!("advice\t{phase}\t{}", snapshot.symbols().advice().unwrap_or("none"));
    for module in snapshot.unmatched_modules() {
        println!("unmatched\t{phase}\t{module}");
    }
}

/// Prints the whole table behind a line that marks it.
pub(crate) fn print_table(snapshot: &Snapshot) {
    println!("table\n{snapshot:#}");
}
