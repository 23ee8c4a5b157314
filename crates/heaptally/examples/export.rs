//! Keeps and frees some blocks, writes a snapshot in a format, and prints what a reader of the file must find in it.
//! Run it with `cargo run --release --example export --features FORMAT -- FORMAT FILE`.
//!
//! Read by tests/tools.sh. The first line of the output has the sums over all rows: blocks and bytes allocated, blocks and
//! bytes live. Each further one has a function, and the same of it and all that it calls. Ends with status 2 when the
//! format is none, or not built in.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use heaptally::{Counts, Line, Site, SiteKind, Snapshot, TallyAlloc};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

/// 1,000 blocks of 512 bytes, kept, and the vector of them.
#[expect(clippy::vec_box, reason = "each is to be a block")]
#[inline(never)]
fn keep() -> Vec<Box<[u8; 512]>> {
    // Looked at once more, so that the function is still there while the vector is made.
    black_box((0..1000).map(|_| black_box(Box::new([1; 512]))).collect())
}

/// 300 blocks of 64 bytes, each freed at once.
#[inline(never)]
fn churn() {
    for _ in 0..300 {
        black_box(Box::new([1_u8; 64]));
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [format, file] = &arguments[..] else {
        eprintln!("usage: export FORMAT FILE");
        return ExitCode::from(2);
    };
    match run(format, file) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("export: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(format: &str, file: &str) -> Result<ExitCode, Box<dyn Error>> {
    let tally = heaptally::start(heaptally::config!())?;
    let kept = keep();
    churn();
    let snapshot = tally.snapshot();
    drop(kept);
    let mut out = BufWriter::new(File::create(file)?);
    let written: Option<io::Result<()>> = match format {
        #[cfg(feature = "csv")]
        "csv" => Some(heaptally::export::csv::write(&snapshot, heaptally::Grouping::Function, &mut out)),
        #[cfg(feature = "dhat")]
        "dhat" => Some(heaptally::export::dhat::write(&snapshot, heaptally::export::dhat::Blocks::Live, &mut out)),
        #[cfg(feature = "file")]
        "file" => Some(heaptally::export::file::write(&snapshot, &mut out)),
        #[cfg(feature = "flamegraph")]
        "flamegraph" => Some(heaptally::export::flamegraph::write(&snapshot, heaptally::Rank::LiveBytes, &mut out)),
        #[cfg(feature = "folded")]
        "folded" => Some(heaptally::export::folded::write(&snapshot, heaptally::Rank::LiveBytes, &mut out)),
        #[cfg(feature = "json")]
        "json" => Some(heaptally::export::json::write(&snapshot, &mut out)),
        #[cfg(feature = "pprof")]
        "pprof" => {
            let taken = std::time::SystemTime::now();
            Some(heaptally::export::pprof::write(&snapshot, heaptally::Rank::LiveBytes, taken, &mut out))
        }
        #[cfg(feature = "prometheus")]
        "prometheus" => Some(heaptally::export::prometheus::write(&snapshot, 20, &mut out)),
        _ => None,
    };
    let Some(written) = written else {
        eprintln!("export: no format {format:?} is built in: see --features");
        return Ok(ExitCode::from(2));
    };
    written?;
    out.flush()?;
    print_expected(&snapshot);
    Ok(ExitCode::SUCCESS)
}

fn print_expected(snapshot: &Snapshot) {
    let known = || snapshot.sites().iter().filter(|site| site.kind() != SiteKind::UnknownFrees);
    print("all", known());
    for function in ["export::keep", "export::churn"] {
        let is_function = |line: &Line| &*line.function == function;
        print(function, known().filter(|site| site.frames().flat_map(|frame| frame.lines.iter()).any(is_function)));
    }
}

fn print<'a>(name: &str, sites: impl Iterator<Item = &'a Site>) {
    let counts = sites.fold(Counts::ZERO, |sum, site| sum + site.counts());
    let Counts { allocated_blocks, allocated_bytes, .. } = counts;
    println!("{name} {allocated_blocks} {allocated_bytes} {} {}", counts.live_blocks(), counts.live_bytes());
}
