//! The example `tally_json` charges a parsed file to the byte, and ends in order whatever it is given.
//!
//! Builds the example as this test was built, which takes nothing where that was done, and runs it.
#![cfg(not(heaptally_portable))]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The example's executable.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // TARGET/PROFILE/deps/this
        let this = std::env::current_exe().expect("a path");
        let profile = this.ancestors().nth(2).expect("a folder of the profile");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--package", "heaptally", "--example", "tally_json"]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        cargo.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        cargo.arg("--target-dir").arg(profile.parent().expect("a target directory"));
        let built = cargo.status().expect("cargo");
        assert!(built.success(), "cargo build: {built}");
        profile.join("examples/tally_json")
    })
}

/// A file of the test's own, with these bytes.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tally_json-{name}"));
    fs::write(&path, bytes).expect("a writable target directory");
    path
}

fn run(arguments: &[OsString]) -> Output {
    Command::new(program()).args(arguments).output().expect("it was built")
}

/// Live bytes, live blocks, allocated bytes, allocated blocks, in the order of the two tables.
fn rows_of(function: &str, printed: &str) -> Vec<[String; 4]> {
    let rows = printed.lines().filter(|line| line.contains(&format!(" {function} (")));
    rows.map(|row| {
        let columns: Vec<&str> = row.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
        // The share is left out where nothing lives.
        let columns: Vec<&str> = columns.into_iter().filter(|column| !column.ends_with('%')).collect();
        std::array::from_fn(|column| columns[column].to_owned())
    })
    .collect()
}

#[test]
fn a_value_is_charged_to_its_parser_while_it_lives() {
    let text = br#"["0123456789", "abcde"]"#;
    let output = run(&[file("strings", text).into()]);
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && output.stderr.is_empty(), "{printed}");
    let [living, dropped] = ["while the value lives\n", "after its drop\n"].map(|title| printed.find(title));
    assert!(living.is_some() && living < dropped, "{printed}");
    // Room for four values of 32 bytes, and two strings of 10 and 5: 143 bytes in 3 blocks, all gone afterwards.
    let row = |cells: [&str; 4]| cells.map(str::to_owned);
    assert_eq!(
        rows_of("tally_json::parse", &printed),
        [row(["143 B", "3", "143 B", "3"]), row(["0 B", "0", "143 B", "3"])],
        "{printed}"
    );
    // The text of 23 bytes is gone as soon as it is parsed.
    assert_eq!(text.len(), 23);
    assert_eq!(rows_of("tally_json::read", &printed), [const { ["0 B", "0", "23 B", "1"] }; 2].map(row), "{printed}");
}

#[test]
fn what_is_no_json_is_one_line_and_status_2() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let missing = PathBuf::from("/no/such\nfile");
    for (file, error) in [
        (missing, r#""/no/such\nfile": No such file or directory (os error 2)"#),
        (env!("CARGO_TARGET_TMPDIR").into(), "Is a directory (os error 21)"),
        (file("empty", b""), "not JSON: EOF while parsing a value at line 1 column 0"),
        (file("cut", b"{\"a\": [1, 2"), "not JSON: EOF while parsing a list at line 1 column 11"),
        (file("more", b"1 2"), "not JSON: trailing characters at line 1 column 3"),
        (file("latin", b"[\"\xe9t\xe9\"]"), "not JSON, which is UTF-8: invalid utf-8 sequence of 1 bytes from index 2"),
        (file("deep", deep.as_bytes()), "not JSON: recursion limit exceeded at line 1 column 128"),
        (PathBuf::from(OsString::from_vec(b"/\xff".into())), r#""/\xFF": No such file or directory (os error 2)"#),
    ] {
        let output = run(&[file.clone().into()]);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{file:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("tally_json: \"") && said.ends_with(&format!("{error}\n")), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn without_one_file_the_usage_is_said() {
    for arguments in [&[][..], &["a.json".into(), "b.json".into()]] {
        let output = run(arguments);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "usage: tally_json FILE\n");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    }
}

/// A reader that has gone, before and after the first line, is no error; a full device is one.
#[test]
fn nobody_needs_to_read_what_is_printed() {
    let json = file("read", b"[1, 2, 3]");
    for lines in [0, 1] {
        let mut child = Command::new(program())
            .arg(&json)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was built");
        let mut reader = BufReader::with_capacity(8, child.stdout.take().expect("a pipe"));
        for _ in 0..lines {
            reader.read_line(&mut String::new()).expect("a line");
        }
        drop(reader);
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        assert_eq!((child.wait().expect("a child").code(), said.as_str()), (Some(0), ""));
    }

    let full = File::options().write(true).open("/dev/full").expect("a device");
    let output = Command::new(program()).arg(&json).stdout(full).output().expect("it was built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said, "tally_json: standard output: No space left on device (os error 28)\n");
}
