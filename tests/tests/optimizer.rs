//! Blocks that do not escape keep their tags, whatever the optimizer can see.
//!
//! Builds `src/bin/optimizer` with link-time optimization off, thin and fat, in a target directory of its own, and
//! runs it. The program sees for itself that no tag is damaged and no block left.
#![cfg(not(heaptally_portable))]

use std::path::Path;
use std::process::Command;

/// Link-time optimization, and codegen units: many for the compiler to see little at a time, one to see all.
const PROFILES: [(&str, &str); 3] = [("off", "16"), ("thin", "16"), ("fat", "1")];
/// What is under test is optimized; the rest is not, to be built sooner.
const DEPENDENCIES_UNOPTIMIZED: &str = "profile.release.package.\"*\".opt-level=0";

/// One test, because all profiles end in the same file.
#[test]
fn no_tag_is_damaged_with_link_time_optimization_off_thin_and_fat() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("optimizer");
    for (lto, codegen_units) in PROFILES {
        build(&target, lto, codegen_units);
        let output = Command::new(target.join("release/optimizer")).output().expect("the program was built");
        let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{lto}: {}\n{printed}{errors}", output.status);
        println!("{lto}\n{printed}");
    }
}

fn build(target: &Path, lto: &str, codegen_units: &str) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--release", "--no-default-features", "--bin", "optimizer"]);
    cargo.args(["--config", DEPENDENCIES_UNOPTIMIZED, "--manifest-path"]);
    cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).arg("--target-dir").arg(target);
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
