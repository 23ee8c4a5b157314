use std::io;

use serde_json::{Value, json};

use super::*;
use crate::export::fixtures::{self, assert_same};
use crate::fixtures::{counts, site_at};
use crate::{Grouping, SnapshotParts};

fn text(snapshot: &Snapshot) -> Vec<u8> {
    let mut text = Vec::new();
    write(snapshot, &mut text).unwrap();
    text
}

fn value(snapshot: &Snapshot) -> Value {
    serde_json::from_slice(&text(snapshot)).unwrap()
}

/// The error of a text that differs from the fixture's in one place.
fn error_with(pointer: &str, changed: Value) -> ReadError {
    let mut value = value(&fixtures::snapshot());
    *value.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = changed;
    from_slice(value.to_string().as_bytes()).unwrap_err()
}

#[test]
fn what_is_read_is_what_was_written() {
    for snapshot in [fixtures::snapshot(), fixtures::later(), Snapshot::from_parts(SnapshotParts::default())] {
        let again = read(&text(&snapshot)[..]).unwrap();
        assert_same(&snapshot, &again);
        assert_eq!(text(&again), text(&snapshot));
    }
}

/// The numbers of nodes are kept, so that a stack is the same one in both.
#[test]
fn two_snapshots_that_were_read_differ_as_they_did() {
    let [earlier, later] =
        [fixtures::snapshot(), fixtures::later()].map(|snapshot| read(&text(&snapshot)[..]).unwrap());
    let diff = later.since_by(&earlier, Grouping::Stack);
    let [row] = diff.rows() else { panic!("{:?}", diff.rows()) };
    assert_eq!((row.name(), row.live_bytes(), row.frames().count()), ("app::cache::grow", -200, 3));
}

#[test]
fn the_text_is_what_the_page_says() {
    let value = value(&fixtures::snapshot());
    assert_eq!(value["format"], 1);
    assert_eq!(value["elapsed_ns"], 2_500_000_000_u64);
    assert_eq!(
        value["totals"],
        json!({"allocated_blocks": 20, "allocated_bytes": 5242, "freed_blocks": 8, "freed_bytes": 506})
    );
    assert_eq!(value["overhead"]["snapshot_ns"], u64::MAX);
    assert_eq!(value["losses"]["unknown_frees"]["bytes"], 8);
    assert_eq!(value["threads"][0]["os_id"], 4711);
    assert_eq!(value["threads"][1]["os_id"], Value::Null);
    assert_eq!(value["files"], json!(["src/cache.rs", "src/main.rs"]));
    assert_eq!(
        value["functions"],
        json!([
            {"name": "app::main", "file": 1},
            {"name": "app::run", "file": null},
            {"name": "app::cache::grow", "file": 0},
            {"name": "app::cache::put", "file": 0}
        ])
    );
    assert_eq!(
        value["mappings"][0],
        json!({
            "path": "/opt/app",
            "build_id": "00c0ffee",
            "start": 0x400,
            "segments": [{"start": 0x1000, "limit": 0x2000, "offset": 0xc00}]
        })
    );
    assert_eq!(value["tables"][0]["nodes"], json!([[0, 0], [1, 1], [2, 2], [2, 3]]));
    assert_eq!(
        value["tables"][0]["frames"][2],
        json!({"ip": 0x1031, "mapping": 0, "lines": [{"function": 2, "line": 42}, {"function": 3, "line": 50}]})
    );
    let grow = &value["sites"][1];
    assert_eq!((&grow["kind"], &grow["stack"]), (&json!("module"), &json!({"table": 0, "leaf": 3})));
    assert_eq!(
        value["owners"][grow["owner"].as_u64().unwrap() as usize],
        json!({"function": "app::cache::grow", "module": "app", "location": {"file": 0, "line": 42}})
    );
    let pseudo = &value["sites"][0];
    assert_eq!((&pseudo["kind"], &pseudo["stack"]), (&json!("internal"), &Value::Null));
}

#[test]
fn keys_of_later_versions_are_ignored_and_counters_that_earlier_ones_lack_are_zero() {
    let mut value = value(&fixtures::snapshot());
    value["invented"] = json!([1, {"two": 3}]);
    value["losses"].as_object_mut().unwrap().remove("truncated_stacks");
    let snapshot = from_slice(value.to_string().as_bytes()).unwrap();
    assert_eq!((snapshot.losses().truncated_stacks, snapshot.losses().unknown_frees.blocks), (0, 1));
}

#[test]
fn an_index_of_nothing_is_named() {
    for (pointer, changed, message) in [
        ("/sites/0/owner", json!(99), "it has no owner 99, only 6"),
        ("/sites/1/stack/table", json!(1), "it has no table 1, only 1"),
        ("/sites/1/stack/leaf", json!(5), "it has no node 5"),
        ("/tables/0/nodes/2", json!([2, 4]), "it has no frame 4, only 4"),
        ("/tables/0/frames/0/mapping", json!(2), "it has no mapping 2, only 2"),
        ("/tables/0/frames/0/lines/0/function", json!(u32::MAX), "it has no function 4294967295, only 4"),
        ("/functions/0/file", json!(2), "it has no file 2, only 2"),
        ("/owners/1/location/file", json!(2), "it has no file 2, only 2"),
    ] {
        let error = error_with(pointer, changed);
        assert!(error.is_damaged(), "{pointer}: {error}");
        assert_eq!(error.to_string(), format!("the snapshot is damaged: {message}"));
    }
}

#[test]
fn a_parent_is_before_its_children() {
    for parent in [3, 4, u32::MAX] {
        let error = error_with("/tables/0/nodes/2", json!([parent, 0]));
        assert_eq!(
            error.to_string(),
            format!("the snapshot is damaged: node 3 has the parent {parent}, which is not before it")
        );
    }
}

#[test]
fn what_is_no_snapshot_says_so() {
    let error = |text: &str| from_slice(text.as_bytes()).unwrap_err();
    assert!(error("").is_truncated());
    assert!(error("{\"format\": 1").is_truncated());
    assert!(error("[\"no snapshot\"]").is_foreign());
    assert!(error("{\"version\": 1}").is_foreign());
    assert!(error("{\"format\": 0}").is_damaged());
    assert!(error("{\"format\": 1}").is_damaged());
    assert!(error("{\"sites\": \"of another shape\", \"format\": 2}").is_newer());
    assert!(error("no JSON").is_damaged());
    // Nested deeper than any stack of calls.
    assert!(error(&format!("{{\"invented\": {}", "[".repeat(1_000_000))).is_truncated());
    let whole = text(&fixtures::snapshot());
    assert!(from_slice(&whole[..whole.len() - 1]).unwrap_err().is_truncated());
    assert!(from_slice(&[&whole[..], b"1"].concat()).unwrap_err().is_damaged());
}

/// Each of two tables has a node of the same number.
#[test]
fn sites_may_be_on_several_tables() {
    let [first, second] = [0, 1].map(|_| fixtures::snapshot().sites()[1].clone());
    let sites = vec![first, second, site_at("app::f", 0, 7, counts(1, 8, 0, 0))];
    let snapshot = Snapshot::from_parts(SnapshotParts { sites, ..SnapshotParts::default() });
    assert_eq!(value(&snapshot)["tables"].as_array().unwrap().len(), 3);
    assert_same(&snapshot, &read(&text(&snapshot)[..]).unwrap());
}

#[test]
fn errors_of_input_and_output_are_handed_on() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert!(read(Broken).unwrap_err().is_io());
    assert_eq!(write(&fixtures::snapshot(), Broken).unwrap_err().kind(), io::ErrorKind::StorageFull);
}
