//! What is exported of a real heap, read back by parsers of others, has the numbers of the snapshot to the byte.
//!
//! Each export is compared with the sums over the sites, which `Snapshot::check` compares with the totals.

#[path = "common/settled.rs"]
mod settled;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Read;
use std::sync::OnceLock;
use std::time::SystemTime;

use flate2::read::GzDecoder;
use heaptally::export::{csv, dhat, file, flamegraph, folded, json, pprof, prometheus};
use heaptally::{Counts, Grouping, Rank, Row, SiteKind, Snapshot, TallyAlloc};
use libdd_profiling_protobuf::prost_impls::{Message, Profile};
use openmetrics_parser::PrometheusValue;
use openmetrics_parser::prometheus::parse_prometheus;

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

const RANKS: [Rank; 4] = [Rank::LiveBytes, Rank::LiveBlocks, Rank::AllocatedBytes, Rank::AllocatedBlocks];

#[inline(never)]
fn keep() -> Vec<Vec<u8>> {
    let mut kept = Vec::with_capacity(50);
    for _ in 0..50 {
        kept.push(black_box(vec![1; 100]));
    }
    kept
}

#[inline(never)]
fn churn() {
    for _ in 0..30 {
        black_box(vec![1_u8; 64]);
    }
}

/// One snapshot for all tests: of blocks before start, of functions, of paused times and of heaptally itself.
fn heap() -> &'static Snapshot {
    static HEAP: OnceLock<Snapshot> = OnceLock::new();
    HEAP.get_or_init(|| {
        settled::settled();
        let before = black_box(vec![1_u8; 1000]);
        let tally = heaptally::start(heaptally::config!()).expect("this system is supported");
        let kept = keep();
        churn();
        tally.pause();
        let paused = black_box(vec![1_u8; 77]);
        tally.resume();
        let snapshot = tally.snapshot();
        assert_eq!(snapshot.check(), Ok(()));
        drop((before, kept, paused));
        snapshot
    })
}

/// The sites that the totals contain.
fn sum(snapshot: &Snapshot) -> Counts {
    let known = snapshot.sites().iter().filter(|site| site.kind() != SiteKind::UnknownFrees);
    known.fold(Counts::ZERO, |sum, site| sum + site.counts())
}

fn number(rank: Rank, counts: Counts) -> u64 {
    match rank {
        Rank::LiveBytes => counts.live_bytes().try_into().expect("no site has freed more than it allocated"),
        Rank::LiveBlocks => counts.live_blocks().try_into().expect("no site has freed more than it allocated"),
        Rank::AllocatedBytes => counts.allocated_bytes,
        Rank::AllocatedBlocks => counts.allocated_blocks,
    }
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("text")
}

#[test]
fn the_heap_has_what_the_other_tests_look_for() {
    let rows = heap().by_function();
    let live = |name: &str| rows.iter().find(|row| row.function() == name).map(|row| row.counts().live_bytes());
    // A vector of 50 vectors, of 24 bytes each, and what these hold.
    assert_eq!(live("exports_add_up::keep"), Some(50 * 124));
    assert!(live("(paused)") >= Some(77) && live("(before start)") >= Some(1000), "{}", heap());
    assert!(live("(heaptally itself)") > Some(0), "{}", heap());
}

#[test]
fn lines_of_folded_stacks() {
    for rank in RANKS {
        let lines = text(|out| folded::write(heap(), rank, out));
        let numbers = lines.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap());
        assert_eq!(numbers.sum::<u64>(), number(rank, sum(heap())), "{rank:?}");
        let paused = number(rank, heap().function("(paused)").expect("a row of paused times").counts());
        assert!(lines.lines().any(|line| line == format!("(paused) {paused}")), "{lines}");
    }
}

#[test]
fn the_widest_bar_of_a_flame_graph() {
    for rank in RANKS {
        let picture = text(|out| flamegraph::write(heap(), rank, out));
        let behind = |text: &str| {
            let rest = picture.split(text).nth(1).unwrap_or_else(|| panic!("no {text} in {picture}"));
            rest.split(' ').next().unwrap().replace(',', "").parse::<u64>().unwrap()
        };
        let own = heap().function("(heaptally itself)").expect("heaptally's own row").counts();
        assert_eq!(behind(">without "), number(rank, own), "{rank:?}");
        assert_eq!(behind("<title>all (") + behind(">without "), number(rank, sum(heap())), "{rank:?}");
    }
}

#[test]
fn samples_of_pprof() {
    let mut gzip = Vec::new();
    pprof::write(heap(), Rank::LiveBytes, SystemTime::UNIX_EPOCH, &mut gzip).unwrap();
    let mut encoded = Vec::new();
    GzDecoder::new(&gzip[..]).read_to_end(&mut encoded).unwrap();
    let profile = Profile::decode(&encoded[..]).unwrap();
    // In the order of Go's heap profiles.
    let ranks = [Rank::AllocatedBlocks, Rank::AllocatedBytes, Rank::LiveBlocks, Rank::LiveBytes];
    for (place, rank) in ranks.into_iter().enumerate() {
        let values = profile.samples.iter().map(|sample| u64::try_from(sample.values[place]).unwrap());
        assert_eq!(values.sum::<u64>(), number(rank, sum(heap())), "{rank:?}");
    }
}

#[test]
fn sites_of_json_and_of_files() {
    let text = text(|out| json::write(heap(), out));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sites = value["sites"].as_array().unwrap();
    let of = |name: &str| {
        let known = sites.iter().filter(|site| site["kind"] != "unknown_frees");
        known.map(|site| site["counts"][name].as_u64().unwrap()).sum::<u64>()
    };
    let Counts { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes } = sum(heap());
    let expected = [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes];
    assert_eq!(["allocated_blocks", "allocated_bytes", "freed_blocks", "freed_bytes"].map(of), expected);

    let mut bytes = Vec::new();
    file::write(heap(), &mut bytes).unwrap();
    let read = file::read(&bytes[..]).unwrap();
    assert_eq!((read.to_string(), read.check(), sum(&read)), (heap().to_string(), Ok(()), sum(heap())));
    assert_eq!(read.since_by(heap(), Grouping::Stack).rows().len(), 0);
}

#[test]
fn lines_of_csv() {
    for grouping in [Grouping::Function, Grouping::Module, Grouping::File, Grouping::Line, Grouping::Stack] {
        let table = text(|out| csv::write(heap(), grouping, out));
        let mut reader = ::csv::Reader::from_reader(table.as_bytes());
        let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let lines: Vec<BTreeMap<&str, String>> = reader
            .records()
            .map(|line| columns.iter().map(String::as_str).zip(line.unwrap().iter().map(str::to_owned)).collect())
            .collect();
        let rows = heap().rows_by(grouping);
        assert_eq!(lines.len(), rows.len(), "{grouping:?}");
        for (line, row) in lines.iter().zip(&rows) {
            same_row(line, row);
        }
    }
}

fn same_row(line: &BTreeMap<&str, String>, row: &Row) {
    let (counts, lifetimes) = (row.counts(), row.lifetimes());
    let place = row.location();
    let numbers = [
        ("allocated_blocks", counts.allocated_blocks),
        ("allocated_bytes", counts.allocated_bytes),
        ("freed_blocks", counts.freed_blocks),
        ("freed_bytes", counts.freed_bytes),
        ("temporaries", lifetimes.temporaries),
        ("freed_same_tick", lifetimes.freed_by_age[0]),
        ("freed_under_2s", lifetimes.freed_by_age[1]),
        ("freed_under_16s", lifetimes.freed_by_age[2]),
        ("freed_under_128s", lifetimes.freed_by_age[3]),
        ("freed_under_1024s", lifetimes.freed_by_age[4]),
        ("freed_older", lifetimes.freed_by_age[5]),
    ];
    for (column, number) in numbers {
        assert_eq!(line[column], number.to_string(), "{column} of {line:?}");
    }
    let texts = [
        ("name", row.name().to_owned()),
        ("module", row.module().unwrap_or_default().to_owned()),
        ("file", place.map_or(String::new(), |place| place.file.to_string())),
        ("line", place.and_then(|place| place.line).map_or(String::new(), |line| line.to_string())),
        ("live_blocks", counts.live_blocks().to_string()),
        ("live_bytes", counts.live_bytes().to_string()),
    ];
    for (column, text) in texts {
        assert_eq!(line[column], text, "{column} of {line:?}");
    }
}

#[test]
fn points_of_a_dhat_file() {
    for (blocks, rank_of_blocks, rank_of_bytes) in [
        (dhat::Blocks::Allocated, Rank::AllocatedBlocks, Rank::AllocatedBytes),
        (dhat::Blocks::Live, Rank::LiveBlocks, Rank::LiveBytes),
    ] {
        let file: serde_json::Value = serde_json::from_str(&text(|out| dhat::write(heap(), blocks, out))).unwrap();
        let points = file["pps"].as_array().unwrap();
        let total = |field: &str| points.iter().map(|point| point[field].as_u64().unwrap()).sum::<u64>();
        assert_eq!(total("tbk"), number(rank_of_blocks, sum(heap())), "{blocks:?}");
        assert_eq!(total("tb"), number(rank_of_bytes, sum(heap())), "{blocks:?}");

        let frames: Vec<&str> = file["ftbl"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        let mut stacks: Vec<Vec<&str>> = points
            .iter()
            .map(|point| {
                point["fs"].as_array().unwrap().iter().map(|id| frames[id.as_u64().unwrap() as usize]).collect()
            })
            .collect();
        // What the viewer takes for granted.
        assert!(stacks.iter().all(|stack| !stack.is_empty() && !stack.contains(&"[root]")), "{stacks:?}");
        assert!(!stacks.iter().any(|stack| stack[0].contains("__rust_alloc")), "{stacks:?}");
        stacks.sort();
        assert!(stacks.windows(2).all(|pair| pair[0] != pair[1]), "{stacks:?}");
        assert!(stacks.contains(&vec!["(before start)"]), "{stacks:?}");
    }
}

#[test]
fn samples_of_metrics() {
    let lines = text(|out| prometheus::write(heap(), usize::MAX, out));
    let families = parse_prometheus(&lines).unwrap_or_else(|error| panic!("{error} in {lines}")).families;
    assert_eq!(families.len(), lines.matches("# TYPE ").count());
    assert!(families.values().all(|family| !family.help.is_empty()), "{lines}");
    let find = |metric: &str, labels: &[(&str, &str)]| {
        let mut samples = families[metric].iter_samples().filter(|sample| {
            let found = sample.get_labelset().unwrap();
            labels.iter().all(|(name, text)| found.get_label_value(name) == Some(*text))
        });
        let (Some(sample), None) = (samples.next(), samples.next()) else {
            panic!("not one {metric} with {labels:?} in {lines}")
        };
        match &sample.value {
            PrometheusValue::Counter(counter) => (counter.value.as_i64().unwrap().cast_unsigned(), "counter"),
            PrometheusValue::Gauge(number) => (number.as_i64().unwrap().cast_unsigned(), "gauge"),
            other => panic!("{metric} is {other:?}"),
        }
    };
    let totals = heap().totals();
    assert_eq!(find("heaptally_allocated_bytes_total", &[]), (totals.allocated_bytes, "counter"));
    assert_eq!(find("heaptally_allocated_blocks_total", &[]), (totals.allocated_blocks, "counter"));
    assert_eq!(find("heaptally_freed_bytes_total", &[]), (totals.freed_bytes, "counter"));
    assert_eq!(find("heaptally_freed_blocks_total", &[]), (totals.freed_blocks, "counter"));
    assert_eq!(find("heaptally_live_bytes", &[]), (totals.live_bytes(), "gauge"));
    assert_eq!(find("heaptally_live_blocks", &[]), (totals.live_blocks(), "gauge"));
    let peak = heap().peak().expect("a peak after start");
    assert_eq!(find("heaptally_peak_live_bytes", &[]), (peak.live_bytes, "gauge"));
    let resident_bytes = heap().resident_bytes().expect("known on this system");
    assert_eq!(find("process_memory_usage_bytes", &[]), (resident_bytes, "gauge"));
    let losses = heap().losses();
    assert_eq!(find("heaptally_losses_total", &[("cause", "ring_full")]), (losses.ring_full, "counter"));
    let own = ["arena", "heap", "tags", "page_map"].map(|part| find("heaptally_own_bytes", &[("part", part)]).0);
    assert_eq!(own.iter().sum::<u64>(), heap().overhead().own_bytes());

    let mut live = Counts::ZERO;
    for row in heap().by_function() {
        if matches!(row.kind(), SiteKind::Internal | SiteKind::UnknownFrees) {
            continue;
        }
        live += row.counts();
        let labels = [("code_function_name", row.function()), ("module", row.module().unwrap_or_default())];
        let number = |rank| (number(rank, row.counts()), "gauge");
        assert_eq!(find("heaptally_function_live_bytes", &labels), number(Rank::LiveBytes));
        assert_eq!(find("heaptally_function_live_blocks", &labels), number(Rank::LiveBlocks));
    }
    // All functions, and heaptally itself, are everything.
    let own_heap = heap().function("(heaptally itself)").expect("heaptally's own row").counts();
    assert_eq!(live + own_heap, sum(heap()));
}
