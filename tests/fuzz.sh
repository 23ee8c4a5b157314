#!/usr/bin/env bash
# Fuzzers, with the sanitizer of addresses: what other people's files, names, unwind tables and allocations can do to us.
#
#   bash tests/fuzz.sh             60 seconds for each target
#   bash tests/fuzz.sh 600         600 seconds for each
#   bash tests/fuzz.sh 600 names   one target: snapshot_file, names, unwind_tables or operations
#
# Needs a nightly toolchain, cargo-fuzz (cargo install cargo-fuzz) and a C++ compiler, and says so where one is missing. Exit
# status 1 when a target found something: the input lies in target/fuzz/found, and is tried again with
#   target/fuzz/TRIPLE/release/TARGET FILE
#
# What is found goes into tests/fuzz/corpus/TARGET with the change that mends it. `cargo test` tries all files there, and what
# they become by a few changes, with any toolchain. Inputs that reach new code are kept in target/fuzz/corpus; the best of
# them go the same way, with
#   target/fuzz/TRIPLE/release/TARGET -merge=1 tests/fuzz/corpus/TARGET target/fuzz/corpus/TARGET
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
targets=("${@:2}")
[ "${#targets[@]}" -gt 0 ] || targets=(snapshot_file names unwind_tables operations)

missing() {
    echo "skipped: $1"
    exit 0
}
cargo +nightly --version >/dev/null 2>&1 || missing "there is no nightly toolchain (rustup toolchain install nightly)"
cargo fuzz --version >/dev/null 2>&1 || missing "cargo-fuzz is not installed (cargo install cargo-fuzz)"
command -v "${CXX:-c++}" >/dev/null || missing "there is no C++ compiler (apt-get install g++)"

triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
# A name of our own, not `fuzzing`: programs that are fuzzed build their dependencies with that.
export RUSTFLAGS="--cfg heaptally_fuzz"
for target in "${targets[@]}"; do
    cargo +nightly fuzz build --fuzz-dir tests/fuzz --target "$triple" --target-dir target/fuzz "$target"
done

mkdir -p target/fuzz/found
status=0
for target in "${targets[@]}"; do
    mkdir -p "target/fuzz/corpus/$target"
    # Memory that heaptally has mapped itself is no root for who looks for leaks.
    options=(-detect_leaks=0 -timeout=20 -rss_limit_mb=4096 -malloc_limit_mb=512 -max_len=4096 -print_final_stats=1)
    if ASAN_OPTIONS=detect_odr_violation=0 "target/fuzz/$triple/release/$target" "${options[@]}" \
        -max_total_time="$seconds" -artifact_prefix="target/fuzz/found/$target-" \
        "target/fuzz/corpus/$target" "tests/fuzz/corpus/$target" >"target/fuzz/$target.log" 2>&1; then
        echo "$target: nothing found, $(grep -m1 '^Done' "target/fuzz/$target.log")"
    else
        grep -vE '^#[0-9]+.*(NEW|REDUCE|pulse|RELOAD|INITED)' "target/fuzz/$target.log" | tail -50
        echo "$target: found something, see target/fuzz/found and target/fuzz/$target.log"
        status=1
    fi
done
exit "$status"
