#!/usr/bin/env bash
# AddressSanitizer over the tests: no access of heaptally's to memory that is not there any more, or to the gaps between blocks,
# frames and statics. And heaptally must not blind it: faults of a program (tests/src/bin/faults.rs) are reported through
# it. Ends with status 1 on a finding.
#
#   bash tests/asan.sh            faults, and all tests that can run so. Half an hour with the building, on two cores.
#   bash tests/asan.sh --quick    faults, and a program without one
#   bash tests/asan.sh NAME...    faults, and these tests
#
# Needs a nightly toolchain with the sanitizer's runtime (rustup toolchain install nightly); without, it says so and is done.
# `--target` keeps build scripts and macros from being instrumented. Names are mangled as in stable toolchains, which the
# tests know.
#
# What it finds in a program that has heaptally around the system's allocator: any use after a free, a second free, an access
# before a block, one behind a large block, and one more than eight bytes behind a small one. Not, behind a small block, the
# first eight bytes: there is heaptally's tag, which is the block's for the sanitizer. A byte written there damages the tag, and
# heaptally counts the free as one without a known allocation, which is looked for here.
#
# How the unwinder gets along with it: words of other frames are read by `asm!` (unwind/stack_words.rs), which is not
# instrumented: redzones between the variables of a frame, and frames that the sanitizer keeps elsewhere to find uses after a
# return, are nothing to it. Return addresses and saved registers are where the unwind tables say. So nothing is exempt, no
# function and no line.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=
if [ "${1:-}" = --quick ]; then quick=yes; shift; fi
fail() { echo "asan: $*" >&2; exit 1; }

source tests/sanitizer.sh
needs_sanitizer asan AddressSanitizer

export RUSTFLAGS="-Zsanitizer=address --cfg heaptally_asan -Csymbol-mangling-version=legacy -Zunstable-options"
work=$PWD/target/asan
log=$work/asan.log
# A request that is too large is refused, as by other allocators.
options=allocator_may_return_null=1:detect_stack_use_after_return=1
export ASAN_OPTIONS=$options
flags=(--quiet -p heaptally-tests --target $target --target-dir "$work")

cargo +nightly build "${flags[@]}" --no-default-features --bin faults
faults=$work/$target/debug/faults
"$faults" none >"$log" 2>&1 || { cat "$log" >&2; fail "a program without a fault"; }
grep -qx "frees without a known allocation: 0" "$log" || { cat "$log" >&2; fail "a program without a fault"; }
echo "no error: $(grep " stacks$" "$log")"

# The fault is reported as such, in the function of its name; before tracking is started, and after: finds NAME ERROR
finds() {
    local name=$1 error=$2 when
    for when in "" on; do
        if "$faults" "$name" $when >"$log" 2>&1; then cat "$log" >&2; fail "$name is not found"; fi
        grep -q "ERROR: AddressSanitizer: $error" "$log" && grep -q "in faults::$name" "$log" ||
            { cat "$log" >&2; fail "$name is not found as $error"; }
    done
    echo "finds $name: $error"
}
finds use_after_free heap-use-after-free
finds use_after_free_large heap-use-after-free
finds overrun_beyond_tag heap-buffer-overflow
finds overrun_large heap-buffer-overflow
finds underrun heap-buffer-overflow
# The second free looks for the tag, in a block that is gone.
finds double_free heap-use-after-free
finds double_free_large "attempting double-free"
"$faults" overrun_into_tag >"$log" 2>&1 && grep -qx "frees without a known allocation: 2" "$log" ||
    { cat "$log" >&2; fail "overrun_into_tag is not what this file says of it"; }
echo "heaptally finds overrun_into_tag"
echo "not looked for: uninitialised (tests/memcheck.sh)"

if [ -n "$quick" ]; then
    echo "left out: the tests (--quick)"
    exit 0
fi

# Tests that cannot run so, and why.
declare -A left_out=(
    [abandoned]="jumps out of frames by itself: their redzones stay behind on the stack"
    [attribution]="builds programs itself"
    [captures_alone]="has a malloc of its own"
    [damaged_blocks]="reads a byte behind a block on purpose, and is told so"
    [deep_recursion]="two million stacks: slow"
    [dlopen]="loads libraries that have no runtime"
    [fork]="hundreds of children that take snapshots: slow"
    [hook_alone]="forbids system calls, which the sanitizer makes"
    [large_blocks]="measures pages that nobody touches; the sanitizer's realloc touches them"
    [many_threads]="over a million stacks: slow"
    [optimizer]="builds programs itself"
    [own_memory]="measures memory; the sanitizer keeps what was freed"
    [refused_everywhere]="has an mmap of its own"
    [step_fork]="single steps: too many instructions"
    [step_jump]="single steps: too many instructions"
    [step_nested]="single steps: too many instructions"
    [step_start]="single steps: too many instructions"
    [tally_json]="builds programs itself"
    [thread_refused]="has a pthread_create of its own"
    [tidy]="runs nothing of heaptally"
)
# Tests of which a part cannot, by the names of the others.
declare -A only=(
    # Not "the smallest stacks": the frames do not fit into 16 KiB.
    [captures_stacks]="coroutines order segments"
)
# Tests that let go of blocks for good, and where.
declare -A leaks=(
    [every]="what a subscriber panicked with (crates/heaptally/src/every.rs)"
    [reading_never_deadlocks]="what a subscriber panicked with"
    [measure_regions]="a block that is to live longer than its thread"
)

if [ $# -eq 0 ]; then
    for file in tests/tests/*.rs; do set -- "$@" "$(basename "$file" .rs)"; done
fi
cargo +nightly test "${flags[@]}" --no-run
passed=0
skipped=0
failed=()
for test in "$@"; do
    if [ -n "${left_out[$test]:-}" ]; then
        echo "skipped: $test: ${left_out[$test]}"
        skipped=$((skipped + 1))
        continue
    fi
    ASAN_OPTIONS=$options:detect_leaks=1
    if [ -n "${leaks[$test]:-}" ]; then
        echo "$test: without a search for leaks: ${leaks[$test]}"
        ASAN_OPTIONS=$options:detect_leaks=0
    fi
    begun=$SECONDS
    if timeout 400 cargo +nightly test "${flags[@]}" --test "$test" -- ${only[$test]:-} >"$log" 2>&1 && ! grep -q "ERROR: [A-Za-z]*Sanitizer" "$log"; then
        echo "ok: $test, $((SECONDS - begun)) s"
        passed=$((passed + 1))
    else
        cat "$log" >&2
        failed+=("$test")
    fi
done
echo "$passed passed, ${#failed[@]} failed, $skipped skipped"
[ ${#failed[@]} -eq 0 ] || fail "${failed[*]}"
