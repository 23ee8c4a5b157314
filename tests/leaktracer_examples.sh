#!/usr/bin/env bash
# The examples of the published crate leaktracer 0.1.6, with one line changed, against this checkout.
#
# The crate comes from cargo's cache, or from its registry; without either nothing is checked, which is said. The rows
# are computed by hand from the examples' sources:
# - `function_which_allocates` of the first makes a block of 1,024 bytes, and prints, for the first time in the process:
#   standard output's buffer is its second block, of 1,024 bytes too. The first block is dropped, the buffer stays.
# - `function_which_allocates` of the second makes a block of 1,024 bytes, which lives when the last table is printed; so
#   do the results of the two tasks, of 1,024 and 2,048 bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
scratch=$checkout/target/leaktracer_examples
export CARGO_TARGET_DIR=$scratch/target

fail() { echo "leaktracer_examples: $*" >&2; exit 1; }

rm -rf "$scratch/published" "$scratch/ported"
mkdir -p "$scratch/published/src" "$scratch/ported/src" "$scratch/ported/examples"
touch "$scratch/published/src/lib.rs" "$scratch/ported/src/lib.rs"

# A package of its own, so that nothing here can be linked with the published crate by mistake.
cat >"$scratch/published/Cargo.toml" <<'TOML'
[package]
name = "published"
edition = "2024"
[workspace]
[dependencies]
leaktracer = "=0.1.6"
TOML
cat >"$scratch/ported/Cargo.toml" <<TOML
[package]
name = "ported"
edition = "2024"
[workspace]
[dependencies]
heaptally = { path = "$checkout/crates/heaptally" }
tokio = { version = "1", features = ["full"] }
tracing = "0.1"
tracing-subscriber = "0.3"
TOML
# The versions that the workspace is tested with.
cp Cargo.lock "$scratch/ported/"

for package in published ported; do
    if ! cargo fetch --quiet --manifest-path "$scratch/$package/Cargo.toml"; then
        echo "skipped: the examples of leaktracer 0.1.6 (cargo could not fetch it or what they depend on)"
        exit 0
    fi
done
source=$(cargo metadata --offline --format-version 1 --manifest-path "$scratch/published/Cargo.toml" |
    grep -o '"manifest_path":"[^"]*/leaktracer-0\.1\.6/Cargo\.toml"' | cut -d '"' -f 4)
source=${source%/Cargo.toml}

line='use leaktracer::LeaktracerAllocator;'
for example in diff_alloc_location tracing; do
    [ "$(grep -cxF "$line" "$source/examples/$example.rs")" -eq 1 ] || fail "$example.rs does not have \`$line\` once"
    sed "s/^$line\$/use heaptally::leaktracer::{self, LeaktracerAllocator};/" "$source/examples/$example.rs" \
        >"$scratch/ported/examples/$example.rs"
    [ "$(diff "$source/examples/$example.rs" "$scratch/ported/examples/$example.rs" | grep -c '^[<>]')" -eq 2 ] ||
        fail "more than one line of $example.rs was changed"
done

cargo build --quiet --offline --examples --manifest-path "$scratch/ported/Cargo.toml"

# Runs an example and prints the rows of the functions that match, without colours and what stands before them.
rows() {
    "$CARGO_TARGET_DIR/debug/examples/$1" >"$scratch/$1.log" || fail "$1 ended with status $?"
    sed 's/\x1b\[[0-9;]*m//g; s/^.*Symbol: /Symbol: /' "$scratch/$1.log" | grep -E "^Symbol: $1::($2)," || true
}

# Compares what an example printed with what it must print.
expect() {
    [ "$2" = "$3" ] || fail "$1 printed
$2
instead of
$3
(all of it: $scratch/$1.log)"
    printf '%s\n' "$2"
}

expect diff_alloc_location "$(rows diff_alloc_location function_which_allocates)" \
    "Symbol: diff_alloc_location::function_which_allocates, Allocated: 2048, Count: 2
Symbol: diff_alloc_location::function_which_allocates, Allocated: 1024, Count: 1"

# The rows of the last table; in the first one the tasks may not have run yet.
last=$(rows tracing 'function_which_allocates|task::\{\{closure\}\}' | tail -2 | sort)
expect tracing "$last" "Symbol: tracing::function_which_allocates, Allocated: 1024, Count: 1
Symbol: tracing::task::{{closure}}, Allocated: 3072, Count: 2"
