//! What the environment asks for is done, when the program asks it, and nothing else.
//!
//! Runs the program `environment` once for each environment.
#![cfg(not(heaptally_portable))]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

const VARIABLES: [&str; 3] = ["HEAPTALLY", "HEAPTALLY_MODULES", "HEAPTALLY_MAX_DEPTH"];

/// What the program prints in an environment of these variables alone.
fn run<V: AsRef<OsStr>>(arguments: &[&str], variables: &[(&str, V)]) -> Vec<String> {
    let mut service = Command::new(env!("CARGO_BIN_EXE_environment"));
    service.args(arguments);
    VARIABLES.iter().for_each(|name| _ = service.env_remove(name));
    let output = service.envs(variables.iter().map(|(name, value)| (name, value))).output().expect("it was built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// Nothing was started: one thread, and totals all the same.
const IDLE: [&str; 5] = ["running false", "threads 1", "modules []", "frames 0", "live true"];

#[test]
fn unset_empty_off_and_totals_start_nothing() {
    let not_started: Vec<&str> = [&["not started"][..], &IDLE].concat();
    assert_eq!(run::<&str>(&[], &[]), not_started);
    for value in ["", "off", "totals"] {
        assert_eq!(run(&[], &[("HEAPTALLY", value)]), not_started, "{value:?}");
        let with_others = [("HEAPTALLY", value), ("HEAPTALLY_MODULES", "a b"), ("HEAPTALLY_MAX_DEPTH", "0")];
        assert_eq!(run(&[], &with_others), not_started, "{value:?}");
    }
    // The other two start nothing by themselves.
    assert_eq!(run(&[], &[("HEAPTALLY_MODULES", "environment"), ("HEAPTALLY_MAX_DEPTH", "16")]), not_started);
}

/// The number in the line that begins with `field`.
fn number(lines: &[String], field: &str) -> u64 {
    let line = lines.iter().find_map(|line| line.strip_prefix(field)).expect(field);
    line.trim().parse().expect("a number")
}

#[test]
fn on_starts_with_the_modules_and_the_depth_that_are_asked_for() {
    let lines = run(&[], &[("HEAPTALLY", "on")]);
    assert_eq!(lines[..3], ["running true", "threads 2", "modules [\"environment\"]"]);
    // A hundred calls, and what lies below and above them.
    let whole = number(&lines, "frames");
    assert!((101..200).contains(&whole), "{lines:?}");

    let lines =
        run(&[], &[("HEAPTALLY", "on"), ("HEAPTALLY_MODULES", "other, environment"), ("HEAPTALLY_MAX_DEPTH", "32")]);
    assert_eq!(lines[2], "modules [\"other\", \"environment\"]");
    // Half the limit at least, and one frame that says where it was cut.
    let cut = number(&lines, "frames");
    assert!((17..=33).contains(&cut), "{lines:?}");

    // Modules of the environment go before the program's own.
    let lines = run(&[], &[("HEAPTALLY", "on"), ("HEAPTALLY_MODULES", "other")]);
    assert_eq!((lines[2].as_str(), number(&lines, "frames")), ("modules [\"other\"]", 0));
}

#[test]
fn a_value_without_meaning_is_an_error_and_starts_nothing() {
    let not_text = OsStr::from_bytes(b"o\xffn");
    let of_switch = "and must be `on`, `totals` or `off`";
    let of_modules = "and must be the paths of modules, separated by commas, such as `app,app::db`";
    let of_depth = "and must be a number from 1 to 512";
    for (variable, value, shown, allowed) in [
        ("HEAPTALLY", "1".as_ref(), "\"1\"", of_switch),
        ("HEAPTALLY", not_text, r#""o\xFFn""#, of_switch),
        ("HEAPTALLY_MODULES", "a b".as_ref(), "\"a b\"", of_modules),
        ("HEAPTALLY_MODULES", not_text, r#""o\xFFn""#, of_modules),
        ("HEAPTALLY_MAX_DEPTH", "513".as_ref(), "\"513\"", of_depth),
        ("HEAPTALLY_MAX_DEPTH", not_text, r#""o\xFFn""#, of_depth),
    ] {
        let error = format!("the variable {variable} is {shown} {allowed}");
        let lines = run(&[], &[("HEAPTALLY", OsStr::new("on")), (variable, value)]);
        assert_eq!(lines, [&[error.as_str()][..], &IDLE].concat());
    }
}

#[test]
fn a_program_that_does_not_ask_is_not_told() {
    let lines = run(&["start"], &[("HEAPTALLY", "off"), ("HEAPTALLY_MODULES", "other"), ("HEAPTALLY_MAX_DEPTH", "8")]);
    assert_eq!(lines[..3], ["running true", "threads 2", "modules [\"environment\"]"]);
    assert!(number(&lines, "frames") > 100, "{lines:?}");
}
