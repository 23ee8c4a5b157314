#!/usr/bin/env bash
# Memcheck over some of the tests: no error may be reported, in heaptally or anywhere else, but one (tests/memcheck.supp). And
# heaptally must not blind it: faults of a program (tests/src/bin/faults.rs) are reported through heaptally. Ends with
# status 1 on a finding.
#
#   bash tests/memcheck.sh            faults, and the tests below. Ten minutes with the building, on two cores.
#   bash tests/memcheck.sh --quick    faults, and a program without one
#   bash tests/memcheck.sh NAME...    faults, and these tests
#
# Needs valgrind (apt-get install valgrind); without, it says so and is done.
#
# What it has over tests/asan.sh: every instruction is looked at, those of `asm!`, of std and of C included; and what is
# read before it was written, where that decides something. Neither a tag, which is read back from the block's last bytes, nor a
# slot of the page map is such a thing.
#
# How the unwinder gets along with it: it compares words of the stack with what they were. One that belongs to no frame any more
# may have become part of a variable that nobody has set, and comparing it is reported. That alone is suppressed, where
# it is done, and only as a comparison; tests/memcheck.supp says why it is right. What is captured is found out with
# the platform's unwinder beside it, in captures_lookalikes.
#
# Not among the tests: exactness, whose blocks are to grow where they are, which memcheck's allocator never lets them;
# foreign_blocks, which frees blocks without a tag on purpose: that heaptally looks for one in bytes that nobody has written is
# reported, as it should be; those that wait for a time, or bring an allocator of C's.
#
# What it does not find: an overrun of a small block by up to eight bytes, see tests/asan.sh. Threads run one at a time.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=
if [ "${1:-}" = --quick ]; then quick=yes; shift; fi
fail() { echo "memcheck: $*" >&2; exit 1; }

command -v valgrind >/dev/null || { echo "skipped: valgrind is not installed (apt-get install valgrind)"; exit 0; }

mkdir -p target
log=$PWD/target/memcheck.log
supp=$PWD/tests/memcheck.supp
memcheck() { valgrind --quiet --error-exitcode=9 --num-callers=40 --trace-children=yes --suppressions="$supp" "$@" >"$log" 2>&1; }

cargo build --quiet -p heaptally-tests --no-default-features --bin faults
faults=target/debug/faults
memcheck "$faults" none && grep -qx "frees without a known allocation: 0" "$log" ||
    { cat "$log" >&2; fail "a program without a fault"; }
echo "no error: $(grep " stacks$" "$log")"

# The fault is reported as such, in the function of its name, as often as it comes: finds NAME ERROR
finds() {
    local name=$1 error=$2 status=0
    memcheck "$faults" "$name" || status=$?
    [ $status -eq 9 ] && [ "$(grep -c "^==[0-9]*== $error" "$log")" -ge 2 ] && grep -q ": faults::$name (" "$log" ||
        { cat "$log" >&2; fail "$name is not found as $error (status $status)"; }
    echo "finds $name: $error"
}
finds use_after_free "Invalid read of size 1"
finds use_after_free_large "Invalid read of size 1"
finds overrun_beyond_tag "Invalid write of size 1"
finds overrun_large "Invalid write of size 1"
finds underrun "Invalid read of size 1"
finds double_free "Invalid free()"
finds double_free_large "Invalid free()"
finds uninitialised "Conditional jump or move depends on uninitialised value(s)"
memcheck "$faults" overrun_into_tag && grep -qx "frees without a known allocation: 2" "$log" ||
    { cat "$log" >&2; fail "overrun_into_tag is not what this file says of it"; }
echo "heaptally finds overrun_into_tag"

if [ -n "$quick" ]; then
    echo "left out: the tests (--quick)"
    exit 0
fi

# One thread of the program's at a time, as far as possible, and each way of the hook: before the start, tracking, paused, stacks
# of every kind, blocks of every size.
if [ $# -eq 0 ]; then
    set -- before_start captures_lookalikes handover measure pause realloc temporaries
fi
failed=()
for test in "$@"; do
    begun=$SECONDS
    binary=$(cargo test -p heaptally-tests --test "$test" --no-run 2>&1 | sed -nE 's/^ *Executable .*\((.*)\)$/\1/p')
    if (cd tests && memcheck "../$binary"); then
        echo "ok: $test, $((SECONDS - begun)) s"
    else
        cat "$log" >&2
        failed+=("$test")
    fi
done
echo "$(($# - ${#failed[@]})) passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ] || fail "${failed[*]}"
