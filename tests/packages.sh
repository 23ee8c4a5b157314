#!/usr/bin/env bash
# What would be published works for somebody who has nothing else: packs all crates, unpacks the three of heaptally into
# a fresh project outside the workspace, and builds and runs the README's first program there, in a default profile.
#
# Needs the network only for what cargo has not fetched yet.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
# Kept between runs: the dependencies need not be built again.
export CARGO_TARGET_DIR=$checkout/target/packages
crates=(heaptally-capture heaptally-profile heaptally)

fail() { echo "packages: $*" >&2; exit 1; }

cargo fetch --quiet --locked
# Building is what the project below is for. Cargo would refuse a checkout with changes: those are to be tested, too.
cargo package --quiet --offline --workspace --no-verify --allow-dirty

project=$(mktemp -d)
trap 'rm -rf "$project"' EXIT
version=$(cargo pkgid --offline -p heaptally | sed 's/.*[#@]//')
for crate in "${crates[@]}"; do
    # With times of now: cargo packs with one old time, and would take what it built last for this.
    tar -xmf "$CARGO_TARGET_DIR/package/$crate-$version.crate" -C "$project"
    mv "$project/$crate-$version" "$project/$crate"
    for file in README.md LICENSE-MIT LICENSE-APACHE; do
        [ -s "$project/$crate/$file" ] || fail "$crate has no $file"
    done
    for key in description license repository readme keywords categories; do
        grep -q "^$key = " "$project/$crate/Cargo.toml" || fail "$crate has no $key"
    done
    [ ! -e "$project/$crate/tests" ] || fail "$crate contains tests, which need the rest of the workspace"
done

mkdir -p "$project/src"
# The README's first program: its first block of Rust.
awk '/^```rust$/ { inside = 1; next } /^```$/ && inside { exit } inside' README.md >"$project/src/main.rs"
cat >"$project/Cargo.toml" <<TOML
[package]
name = "app"
edition = "2024"

[dependencies]
heaptally = "$version"

[patch.crates-io]
TOML
for crate in "${crates[@]}"; do
    echo "$crate = { path = \"$crate\" }" >>"$project/Cargo.toml"
done
# The versions that the workspace is tested with.
cp Cargo.lock "$project/"

cd "$project"
cargo run --quiet --offline --release >table.txt
cat table.txt
# 1,000 strings, and the vector of them: without debug information the closure's blocks are its caller's.
grep -qE '^ .* 1,001 .* app::main$' table.txt || fail "no row of app::main with 1,001 blocks"
