//! Profiles as a parser sees them that is not ours.

use std::fmt::Write as _;
use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;
use libdd_profiling_protobuf::prost_impls::{Location, Message, Profile};

use super::*;
use crate::export::fixtures;
use crate::fixtures::{counts, site};
use crate::{Grouping, Site, SiteKind, Snapshot, SnapshotParts};

/// 2001-09-09 01:46:40 UTC.
const TAKEN_NANOS: i64 = 1_000_000_000_000_000_000;

fn taken() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(TAKEN_NANOS as u64)
}

fn decode(gzip: &[u8]) -> Profile {
    let mut encoded = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut encoded).unwrap();
    Profile::decode(encoded.as_slice()).unwrap()
}

fn profile(snapshot: &Snapshot) -> Profile {
    let mut gzip = Vec::new();
    write(snapshot, Rank::LiveBytes, taken(), &mut gzip).unwrap();
    decode(&gzip)
}

fn diff_profile(earlier: &Snapshot, later: &Snapshot, grouping: Grouping) -> Profile {
    let mut gzip = Vec::new();
    write_diff(&later.since_by(earlier, grouping), Rank::LiveBytes, taken(), &mut gzip).unwrap();
    decode(&gzip)
}

/// The profile with all its references resolved, a line for each thing.
fn text(profile: &Profile) -> String {
    let string = |index: i64| format!("{:?}", profile.string_table[index as usize]);
    let location = |id: u64| -> &Location { profile.locations.iter().find(|location| location.id == id).unwrap() };
    let mut text = String::new();
    for kind in &profile.sample_types {
        writeln!(text, "type {} {}", string(kind.r#type), string(kind.unit)).unwrap();
    }
    writeln!(text, "default {}", string(profile.default_sample_type)).unwrap();
    let period = profile.period_type.unwrap();
    writeln!(text, "period {} {} {}", profile.period, string(period.r#type), string(period.unit)).unwrap();
    writeln!(text, "time {} duration {}", profile.time_nanos, profile.duration_nanos).unwrap();
    for comment in &profile.comment {
        writeln!(text, "comment {}", string(*comment)).unwrap();
    }
    for mapping in &profile.mappings {
        let (start, limit) = (mapping.memory_start, mapping.memory_limit);
        write!(text, "mapping {} {start:#x}..{limit:#x} at {:#x} ", mapping.id, mapping.file_offset).unwrap();
        write!(text, "{} {}", string(mapping.filename), string(mapping.build_id)).unwrap();
        let names = ["functions", "filenames", "lines", "inlined"];
        let has = [mapping.has_functions, mapping.has_filenames, mapping.has_line_numbers, mapping.has_inline_frames];
        for (name, _) in names.into_iter().zip(has).filter(|(_, has)| *has) {
            write!(text, " {name}").unwrap();
        }
        text.push('\n');
    }
    for sample in &profile.samples {
        writeln!(text, "sample {:?}", sample.values).unwrap();
        for location in sample.location_ids.iter().map(|&id| location(id)) {
            writeln!(text, "  location {} mapping {} {:#x}", location.id, location.mapping_id, location.address)
                .unwrap();
            for line in &location.lines {
                let function = profile.functions.iter().find(|function| function.id == line.function_id).unwrap();
                let (name, file) = (string(function.name), string(function.filename));
                writeln!(text, "    {name} {file}:{}", line.line).unwrap();
            }
        }
    }
    text
}

/// The sums of the four values over all samples.
fn sums(profile: &Profile) -> [i64; 4] {
    let add = |sums: [i64; 4], values: &Vec<i64>| std::array::from_fn(|value| sums[value] + values[value]);
    profile.samples.iter().map(|sample| &sample.values).fold([0; 4], add)
}

#[test]
fn a_profile_is_what_the_golden_file_says() {
    let text = text(&profile(&fixtures::snapshot()));
    assert_eq!(text, include_str!("golden.txt"), "\n{text}");
}

#[test]
fn the_samples_add_up_to_the_totals() {
    let snapshot = fixtures::snapshot();
    assert_eq!(snapshot.check(), Ok(()));
    let totals = snapshot.totals();
    let expected = [totals.allocated_blocks as i64, totals.allocated_bytes as i64, totals.live_blocks() as i64];
    assert_eq!(sums(&profile(&snapshot)), [expected[0], expected[1], expected[2], totals.live_bytes() as i64]);
    // Without the frees that are in no total: 10 + 3 + 5 + 2 blocks, of which 4 + 3 + 1 were freed; 1000 + 96 + 50 + 4096 bytes, 400 + 96 + 10 freed.
    assert_eq!(expected, [20, 5242, 12]);
    assert_eq!(totals.live_bytes(), 4736);
}

#[test]
fn a_difference_has_what_changed_and_keeps_its_sign() {
    let (earlier, later) = (fixtures::snapshot(), fixtures::later());
    let profile = diff_profile(&earlier, &later, Grouping::Stack);
    let [sample] = &profile.samples[..] else { panic!("{} samples", profile.samples.len()) };
    assert_eq!(sample.values, [7, 700, -2, -200]);
    assert_eq!(sample.location_ids.len(), 3);
    assert_eq!((profile.time_nanos, profile.duration_nanos), (TAKEN_NANOS, 7_500_000_000));
}

/// The rows that only the earlier snapshot has are on its tables, which are equal to the later one's but not the same.
#[test]
fn what_both_snapshots_have_is_in_a_difference_once() {
    let later = fixtures::later();
    let sites = later.sites().iter().filter(|site| site.kind() == SiteKind::Module).cloned().collect();
    let later = Snapshot::from_parts(SnapshotParts { sites, ..SnapshotParts::default() });
    let profile = diff_profile(&fixtures::snapshot(), &later, Grouping::Stack);
    let stacks = profile.samples.iter().filter(|sample| sample.location_ids.len() == 3).count();
    let mut addresses: Vec<u64> = profile.locations.iter().map(|location| location.address).collect();
    addresses.retain(|&address| address > 0);
    addresses.sort_unstable();
    assert_eq!((stacks, addresses), (2, vec![0x1010, 0x1020, 0x1031, 0x7f00_0000_2005]));
    assert_eq!(profile.mappings.len(), 2);
}

#[test]
fn rows_of_another_grouping_are_stacks_of_one_frame() {
    let (earlier, later) = (fixtures::snapshot(), fixtures::later());
    let text = text(&diff_profile(&earlier, &later, Grouping::Module));
    assert!(text.ends_with("sample [7, 700, -2, -200]\n  location 1 mapping 0 0x0\n    \"app\" \"\":0\n"), "{text}");
}

/// Rows whose stacks say nothing are named by what they are charged to.
#[test]
fn rows_without_frames_are_told_apart_also_in_several_parts() {
    let sites: Vec<Site> = (0..2500).map(|i| site(&format!("app::f{i}"), counts(i + 1, 10 * (i + 1), 0, 0))).collect();
    let snapshot = Snapshot::from_parts(SnapshotParts { sites, ..SnapshotParts::default() });
    let profile = profile(&snapshot);
    assert_eq!((profile.samples.len(), profile.locations.len(), profile.functions.len()), (2500, 2500, 2500));
    assert_eq!(sums(&profile), [3_126_250, 31_262_500, 3_126_250, 31_262_500]);
    let first = &profile.functions[0];
    assert_eq!(profile.string_table[first.name as usize], "app::f2499");
}

/// Where the two names are equal, `go tool pprof` shows `<T as Trait>::f` as `::f`.
#[test]
fn functions_have_no_name_that_is_not_known() {
    let profile = profile(&fixtures::snapshot());
    assert!(profile.functions.iter().all(|function| function.name > 0 && function.system_name == 0));
}

#[test]
fn a_time_before_1970_and_one_that_is_too_late_are_bounded() {
    let snapshot = Snapshot::from_parts(SnapshotParts::default());
    let time = |taken| {
        let mut gzip = Vec::new();
        write(&snapshot, Rank::LiveBytes, taken, &mut gzip).unwrap();
        decode(&gzip).time_nanos
    };
    assert_eq!(time(SystemTime::UNIX_EPOCH - Duration::from_nanos(7)), -7);
    assert_eq!(time(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)), i64::MAX);
}

#[test]
fn an_error_of_the_writer_is_handed_on() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = write(&fixtures::snapshot(), Rank::LiveBytes, taken(), Full).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn the_same_snapshot_gives_the_same_bytes() {
    let bytes = || {
        let mut gzip = Vec::new();
        write(&fixtures::snapshot(), Rank::LiveBytes, taken(), &mut gzip).unwrap();
        gzip
    };
    assert_eq!(bytes(), bytes());
}
