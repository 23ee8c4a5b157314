//! Compiles what the tests need of C: frames that Rust does not make, and libraries to be loaded and unloaded.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The bytes of the frames of each library, its build id, and the name of its inner function. The twin has the same frames,
/// and another id and name.
const PLUGINS: [(&str, &str, &str, &str); 5] = [
    ("small", "1000", "sha1", "inner"),
    ("small_twin", "1000", "uuid", "inner_of_twin"),
    ("large", "3000", "sha1", "inner"),
    ("small_nameless", "1000", "none", "inner"),
    ("large_nameless", "3000", "none", "inner"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=c");
    for (variant, level) in [("optimized", 2), ("unoptimized", 0)] {
        let mut build = cc::Build::new();
        build.file("c/frames.c").opt_level(level).force_frame_pointer(false);
        build.define("VARIANT", variant).compile(&format!("frames_{variant}"));
    }
    // Of these, only the programs that name one of its functions have the file.
    for file in ["jump", "constructor"] {
        cc::Build::new().file(format!("c/{file}.c")).opt_level(1).compile(file);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("plugins");
    fs::create_dir_all(&out).expect("a directory for plugins");
    for (name, frame_bytes, build_id, inner) in PLUGINS {
        let [bytes, inner] = [format!("-DFRAME_BYTES={frame_bytes}"), format!("-Dinner={inner}")];
        library(&out, name, "c/plugin.c", &[&bytes, &inner, &format!("-Wl,--build-id={build_id}")]);
    }
    library(&out, "relay", "c/relay.c", &[]);
    library(&out, "constructed", "c/constructed.c", &["-pthread"]);
    println!("cargo::rustc-env=PLUGINS={}", out.display());
}

/// Makes a library to be loaded.
fn library(out: &Path, name: &str, source: &str, flags: &[&str]) {
    let mut build = cc::Build::new();
    build.opt_level(1).force_frame_pointer(false).pic(true);
    let mut compiler = build.get_compiler().to_command();
    compiler.args(flags).args(["-shared", source, "-o"]).arg(out.join(name).with_extension("so"));
    let built = compiler.status().expect("a C compiler");
    assert!(built.success(), "{name}: {built}");
}
