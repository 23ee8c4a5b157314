#!/usr/bin/env bash
# What a pair of allocation and free costs above the system's allocator, before `start` and after it.
#
#   benches/pairs.sh               instructions (valgrind) and nanoseconds
#   benches/pairs.sh instructions  instructions only; exits with 1 if a pair before `start` costs more than 40 above System's
#
# Instructions decide where time cannot: they are the same on every run. Times are medians of interleaved processes, as ratios.
set -euo pipefail
cd "$(dirname "$0")/pairs"
limit=40
target=${CARGO_TARGET_DIR:-../../target}/pairs

cargo build --release --quiet --target-dir "$target/system"
cargo build --release --quiet --features tally --target-dir "$target/tally"
system=$target/system/release/pairs
tally=$target/tally/release/pairs

instructions() { # PROGRAM MODE PAIRS FRAMES
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 | awk '/Collected/ { print $4 }'
}
per_pair() { # PROGRAM MODE PAIRS FRAMES: the difference between PAIRS and none, so that start-up does not count
    echo $((($(instructions "$1" "$2" "$3" "$4") - $(instructions "$1" "$2" 0 "$4")) / $3))
}

if ! command -v valgrind >/dev/null; then
    echo "pairs.sh: skipped the instruction counts: valgrind is not installed" >&2
else
    base=$(per_pair "$system" off 100000 0)
    off=$(per_pair "$tally" off 100000 0)
    echo "instructions per pair: System $base, heaptally before start $off (+$((off - base)), limit +$limit)"
    for frames in 0 25 65; do
        echo "instructions per pair, tracking on, $frames extra frames: $(per_pair "$tally" on 5000 $frames)"
    done
    [ $((off - base)) -le $limit ] || { echo "pairs.sh: more than $limit instructions above System" >&2; exit 1; }
fi
[ "${1:-}" = instructions ] && exit 0

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
samples=$(mktemp -d)
trap 'rm -rf "$samples"' EXIT
for _ in 1 2 3 4 5 6 7; do
    "$system" on 20000000 0 >>"$samples/system"
    "$tally" off 20000000 0 >>"$samples/off"
    for frames in 0 25 65; do "$tally" on 200000 $frames >>"$samples/on.$frames"; done
done
base=$(median <"$samples/system")
report() { # NAME FILE
    awk -v name="$1" -v ours="$(median <"$samples/$2")" -v base="$base" \
        'BEGIN { printf "%-42s %9.1f ns  %6.1f x\n", name, ours, ours / base }'
}
report "System" system
report "heaptally, before start" off
for frames in 0 25 65; do report "heaptally, on, $frames extra frames" "on.$frames"; done
