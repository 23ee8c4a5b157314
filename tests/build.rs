//! Compiles what the tests need of C: frames that Rust does not make, and libraries to be loaded and unloaded.

use std::path::PathBuf;
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
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("plugins");
    fs::create_dir_all(&out).expect("a directory for plugins");
    for (name, frame_bytes, build_id, inner) in PLUGINS {
        let mut build = cc::Build::new();
        build
            .opt_level(1)
            .force_frame_pointer(false)
            .pic(true)
            .define("FRAME_BYTES", frame_bytes)
            .define("inner", inner);
        let mut compiler = build.get_compiler().to_command();
        compiler.arg(format!("-Wl,--build-id={build_id}"));
        compiler.args(["-shared", "c/plugin.c", "-o"]).arg(out.join(name).with_extension("so"));
        let built = compiler.status().expect("a C compiler");
        assert!(built.success(), "{name}: {built}");
    }
    println!("cargo::rustc-env=PLUGINS={}", out.display());
}
