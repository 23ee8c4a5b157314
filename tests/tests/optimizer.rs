//! Blocks that do not escape keep their tags, whatever the optimizer can see.
//!
//! Builds `src/bin/optimizer` with link-time optimization off, thin and fat, in a target directory of its own, and
//! runs it. The program sees for itself that no tag is damaged and no block left.
//!
//! That the shapes are such that a tag can be damaged is shown by `src/bin/unlaundered`, the same shapes over an
//! allocator that tags its blocks without precautions: it must find damaged tags. With rustc 1.95 it does so in all
//! profiles but the first. heaptally without `inline(never)`, without `launder`, and even without both still passes:
//! its slow path looks at the tag again in a function of its own.
#![cfg(not(heaptally_portable))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Link-time optimization, and codegen units: many for the compiler to see little at a time, one to see all.
const PROFILES: [(&str, &str); 4] = [("off", "16"), ("off", "1"), ("thin", "16"), ("fat", "1")];
/// What is under test is optimized; the rest is not, to be built sooner and for several profiles at once.
const DEPENDENCIES: [&str; 2] =
    ["profile.release.package.\"*\".opt-level=0", "profile.release.package.\"*\".codegen-units=16"];

/// One test, because all profiles end in the same files.
#[test]
fn no_tag_is_damaged_with_link_time_optimization_off_thin_and_fat() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("optimizer");
    let mut damaged_controls = 0;
    for (lto, codegen_units) in PROFILES {
        build(&target, lto, codegen_units);
        let output = run(target.join("release/optimizer"));
        let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{lto}, {codegen_units}: {}\n{printed}{errors}", output.status);
        let control = run(target.join("release/unlaundered"));
        let control_printed = String::from_utf8_lossy(&control.stdout);
        println!("lto {lto}, codegen units {codegen_units}\n{printed}without precautions:\n{control_printed}");
        // It may even crash: what the compiler was told about its blocks is not true.
        damaged_controls += usize::from(!control_printed.ends_with("0 shapes damaged\n"));
    }
    assert!(damaged_controls > 0, "the shapes damage no tag even without precautions: they show nothing");
}

fn run(program: PathBuf) -> Output {
    Command::new(program).output().expect("the program was built")
}

fn build(target: &Path, lto: &str, codegen_units: &str) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--release", "--no-default-features"]);
    cargo.args(["--bin", "optimizer", "--bin", "unlaundered"]);
    cargo.args(DEPENDENCIES.iter().flat_map(|setting| ["--config", setting]));
    cargo
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target);
    for (key, _) in std::env::vars_os() {
        let key_text = key.to_string_lossy();
        if key_text.starts_with("CARGO_PROFILE_RELEASE_") || key_text.ends_with("RUSTFLAGS") {
            cargo.env_remove(&key);
        }
    }
    let keys = [("LTO", lto), ("CODEGEN_UNITS", codegen_units), ("OPT_LEVEL", "3"), ("DEBUG", "0")];
    for (key, value) in keys {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    let built = cargo.status().expect("cargo");
    assert!(built.success(), "{lto}: cargo build: {built}");
}
