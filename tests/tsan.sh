#!/usr/bin/env bash
# ThreadSanitizer over the hot crate: threads that come and go, take stacks, hand blocks to each other, while another one starts
# tracking, drains, reads all counters, pauses and resumes (tests/tsan). No report may come, and there is no list of
# suppressions. Ends with status 1 on a finding.
#
#   bash tests/tsan.sh            120 threads in each of four places, and all faults. A minute.
#   bash tests/tsan.sh --quick    20, and the faults for which nothing is built anew
#
# Needs a nightly toolchain with the sanitizer's runtime (rustup toolchain install nightly); without, it says so and is done.
#
# What it proves: *plain memory*, which two threads reach, is never reached without order. That is the trace, the segments and the
# stack cache of a state that goes from thread to thread; the tags behind small blocks; the slots of large ones. All other words
# are atomics, of which no two accesses are a race: whether their orderings are strong enough is tests/loom.sh's affair. Here the
# driver holds every reading to what docs/memory-ordering.md promises of it, and the last one to numbers counted by hand.
#
# What the sanitizer does not see, and what is done about it:
# - *Instructions of `asm!`*: counters are incremented so. `--cfg heaptally_no_asm` makes them loads and stores. The words of its
#   own stack that a thread compares stay `asm!`; no other thread reads those.
# - *std*, which is not instrumented: so the driver is no global allocator, and threads, their end and atomics are all it has
#   of std. With rust-src (rustup component add rust-src --toolchain nightly) std is built with the sanitizer, and the
#   package's tests that are about threads run under it as they are.
# - *Fences*: it takes none into account. Three in the crate (Registry::acquire, Registry::open_gates, ThreadState::take_path)
#   decide which of two threads sees the other's mode or gate. They order no plain memory, so no report can come of it, and none is
#   missing: tests/loom.sh has each of them taken out (models/gate.rs). The driver leaves std's own objects alone at whose end
#   std has one.
# - *What an allocator inside orders*: tests/tsan/src/inner.rs does it.
# - *Handlers of signals and forks*: tests/tests/step_*.rs, signal_handlers.rs and fork.rs.
#
# Faults are planted in each run, so that silence means something: into the driver, and into a copy of the crate's code.
set -euo pipefail
cd "$(dirname "$0")/.."
quick=${1:-}
case $quick in "" | --quick) ;; *) echo "usage: tsan.sh [--quick]" >&2; exit 2 ;; esac

fail() { echo "tsan: $*" >&2; exit 1; }

source tests/sanitizer.sh
needs_sanitizer tsan ThreadSanitizer

export RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg heaptally_no_asm"
work=$PWD/target/tsan
mkdir -p "$work"
log=$work/tsan.log

# Builds the driver of a checkout and leaves its path in $driver: build CHECKOUT
build() {
    cargo +nightly build --quiet --release --manifest-path "$1/tests/tsan/Cargo.toml" --target $target --target-dir "$work"
    driver=$work/$target/release/heaptally-tsan
}

# Runs the driver until its first report: drive ARGUMENTS
drive() { TSAN_OPTIONS="halt_on_error=1 exitcode=66 suppressions=" timeout 300 "$driver" "$@" >"$log" 2>&1; }

# A fault must be reported, and where it is: finds WHAT FRAME ARGUMENTS
finds() {
    local what=$1 frame=$2 status=0
    shift 2
    drive "$@" || status=$?
    [ $status -eq 66 ] && grep -q "WARNING: ThreadSanitizer: data race" "$log" && grep -q "$frame" "$log" ||
        { cat "$log" >&2; fail "the fault is not found (status $status): $what"; }
    echo "finds: $what, in $(grep -m1 -oE "$frame[A-Za-z_:]*" "$log")"
}

if [ -n "$quick" ]; then rounds=20; else rounds=120; fi
build .
drive $rounds || { cat "$log" >&2; fail "the driver"; }
echo "no race: $(tail -1 "$log")"
finds "a block reaches another thread without order" "heaptally_capture::tag::Slot" $rounds hand-over
finds "two threads count with one state" "heaptally_capture::unwind::" $rounds one-state

# Plants a fault into a copy of the crate's code: plant WHAT FRAME FILE AFTER FROM TO, where FROM is in the first line with it
# after one with AFTER.
plant() {
    local what=$1 frame=$2 file=$3 after=$4 from=$5 to=$6 copy=$work/planted
    rm -rf "$copy"
    mkdir -p "$copy/crates" "$copy/tests/src"
    cp -r crates/heaptally-capture "$copy/crates"
    cp -r tests/tsan "$copy/tests"
    cp tests/src/random.rs "$copy/tests/src"
    sed 's/^members = .*/members = ["crates\/*"]/' Cargo.toml >"$copy/Cargo.toml"
    cp Cargo.lock "$copy"
    file=crates/heaptally-capture/src/$file
    awk -v after="$after" -v from="$from" -v to="$to" \
        'index($0, after) { found = 1 } found && !done && sub(from, to) { done = 1 } { print }' "$file" >"$copy/$file"
    if cmp -s "$file" "$copy/$file"; then fail "nothing to plant in $file: $what"; fi
    build "$copy"
    finds "$what" "$frame" $rounds
}

if [ -n "$quick" ]; then
    echo "left out: faults planted into the crate's code, and std with the sanitizer (--quick)"
    exit 0
fi

plant "a state is taken that another thread has" "heaptally_capture::unwind::" registry.rs "fn reuse" "= self.free.pop[(][)][?]" \
    "= 0"
plant "slots of large blocks are seen before their memory" "heaptally_capture::tag::Slot" page_map.rs "fn map_leaf" \
    "Ordering::Release" "Ordering::Relaxed"

if [ ! -d "$sysroot/lib/rustlib/src/rust/library" ]; then
    echo "skipped: tests with std under the sanitizer: no rust-src (rustup component add rust-src --toolchain nightly)"
    exit 0
fi
for test in conservation_under_load exactness handover large_races many_threads old_blocks_under_load short_threads \
    start_race temporaries threads; do
    TSAN_OPTIONS="halt_on_error=1 exitcode=66 suppressions=" cargo +nightly test --quiet -Zbuild-std --target $target \
        --target-dir "$work" -p heaptally-tests --test $test || fail "$test, with std under the sanitizer"
done
