#!/usr/bin/env bash
# What heaptally exports is what other people's tools read: writes a snapshot in each format, opens it with the tool, and
# compares the tool's numbers with the snapshot's.
#
# Usage: bash tests/tools.sh [--require]
# A tool that is not installed is skipped, with a line that says so. With --require it is installed with apt-get, and what
# cannot be had is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
require=${1:-}
case $require in "" | --require) ;; *) echo "usage: tools.sh [--require]" >&2; exit 2 ;; esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
skipped=0

fail() { echo "tools: $*" >&2; exit 1; }

# Whether the command is there, or could be installed as the Debian package: tool COMMAND PACKAGE
tool() {
    command -v "$1" >/dev/null && return
    if [ -z "$require" ]; then
        echo "skipped: $1 is not installed (apt-get install $2)"
        skipped=$((skipped + 1))
        return 1
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2"; } \
        >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; fail "$2 cannot be installed"; }
    command -v "$1" >/dev/null || fail "$2 has no $1"
}

# Writes $work/FILE and, beside it, what a reader must find in it: export FORMAT FILE
export_as() {
    cargo run --release --quiet --example export --all-features -- "$1" "$work/$2" >"$work/$2.expected"
    # What the program allocates, counted by hand: a vector of 1,000 boxes of 512 bytes, kept; 300 boxes of 64, freed.
    grep -qx "export::keep 1001 520000 1001 520000" "$work/$2.expected" || fail "$2: $(cat "$work/$2.expected")"
    grep -qx "export::churn 300 19200 0 0" "$work/$2.expected" || fail "$2: $(cat "$work/$2.expected")"
}

pprof() {
    tool go golang-go || return 0
    export_as pprof heap.pb.gz
    local name values value kind column=0 top total cum
    for kind in alloc_objects alloc_space inuse_objects inuse_space; do
        top=$(go tool pprof -top -cum -unit=B -nodefraction=0 -nodecount=100000 -sample_index="$kind" "$work/heap.pb.gz" 2>/dev/null)
        while read -r name values; do
            read -ra values <<<"$values"
            value=${values[$column]}
            if [ "$name" = all ]; then
                total=$(sed -nE 's/^Showing nodes accounting for ([0-9]+)B?, 100% of ([0-9]+)B? total$/\1 \2/p' <<<"$top")
                [ "$total" = "$value $value" ] || fail "pprof: $kind: the total is '$total', not $value: $top"
            else
                cum=$(awk -v name="$name" '$6 == name { sub(/B$/, "", $4); print $4 }' <<<"$top")
                [ "${cum:-0}" = "$value" ] || fail "pprof: $kind: $name has '$cum', not $value: $top"
            fi
        done <"$work/heap.pb.gz.expected"
        column=$((column + 1))
    done
    grep -q '<alloc::vec::Vec<' <<<"$top" || fail "pprof: names without what is in angle brackets: $top"
    echo "pprof: go tool pprof has the snapshot's numbers"
    passed=$((passed + 1))
}

# The sums over all sites, in the order of the expected ones.
json_sums='[.sites[] | select(.kind != "unknown_frees") | .counts] | [
    (map(.allocated_blocks) | add), (map(.allocated_bytes) | add),
    (map(.allocated_blocks - .freed_blocks) | add), (map(.allocated_bytes - .freed_bytes) | add)
] | map(tostring) | "all " + join(" ")'

json() {
    tool jq jq || return 0
    export_as json heap.json
    [ "$(jq -r "$json_sums" "$work/heap.json")" = "$(head -1 "$work/heap.json.expected")" ] ||
        fail "json: $(jq -r "$json_sums" "$work/heap.json")"
    echo "json: jq has the snapshot's numbers"
    passed=$((passed + 1))
}

# The file is JSON in gzip behind twelve bytes.
file() {
    tool jq jq || return 0
    export_as file heap.heaptally
    tail -c +13 "$work/heap.heaptally" | gzip -dc >"$work/heap.heaptally.json"
    [ "$(jq -r "$json_sums" "$work/heap.heaptally.json")" = "$(head -1 "$work/heap.heaptally.expected")" ] ||
        fail "file: $(jq -r "$json_sums" "$work/heap.heaptally.json")"
    echo "file: gzip and jq have the snapshot's numbers"
    passed=$((passed + 1))
}

# One that is a script of its own, and says itself what it skips.
apart() {
    local said
    said=$(bash "tests/tools/$1.sh" $require) || fail "$1"
    echo "$said"
    if grep -q "^skipped" <<<"$said"; then skipped=$((skipped + 1)); else passed=$((passed + 1)); fi
}

pprof
json
file
apart dhat
apart prometheus

echo "$passed passed, 0 failed, $skipped skipped"
