#!/usr/bin/env bash
# Whether the gates shut: each fault is planted into the mechanism that a gate guards, and the gate must fail, for the reason
# named here. A gate that lets one through proves nothing, and fails this script. Needs nothing but cargo.
#
#   bash tests/gates.sh           all of them
#   bash tests/gates.sh words     faults whose names contain a text
#
# The faults are in crates/heaptally-capture/src/fault.rs. The models of tests/loom.sh plant their own, in each run.
set -euo pipefail
cd "$(dirname "$0")/.."

# fault                        gate: the test                what it says
gates='
row-lost                       conservation_under_load       more than the .* it allocated
total-lost                     conservation_under_load       more than the totals
free-elsewhere                 conservation_under_load       more than the .* it allocated
words-not-compared             captures_lookalikes           a capture differs
frame-pointer-not-compared     captures_lookalikes           a capture differs
caller-at-return-address       captures_stacks               a capture differs
modules-not-compared           dlopen                        captures.rs
check-not-looked-at            damaged_blocks                assertion
size-not-sealed                damaged_blocks                assertion
tag-not-cleared                strange_frees                 assertion
'
export RUSTC_WORKSPACE_WRAPPER="$PWD/tests/cfg/heaptally_faults"
tests=$(awk 'NF { print $2 }' <<<"$gates" | sort -u)
cargo_test=(cargo test --quiet -p heaptally-tests)
cargo_test+=($(printf -- '--test %s ' $tests))
"${cargo_test[@]}" --no-run
log=target/gate.log

# Without a fault they hold.
if ! "${cargo_test[@]}" >"$log" 2>&1; then
    cat "$log"
    exit 1
fi
open=0
planted=0
while read -r fault test reason; do
    [[ -n $fault && $fault == *"${1:-}"* ]] || continue
    planted=$((planted + 1))
    # Not from the list of gates: a test that reads would take the rest of them.
    if HEAPTALLY_FAULT=$fault cargo test --quiet -p heaptally-tests --test "$test" >"$log" 2>&1 </dev/null; then
        echo "open: $test lets $fault through"
        open=1
    elif ! grep -qE "$reason" "$log"; then
        echo "open: $test fails with $fault, but does not say \"$reason\":"
        tail -20 "$log"
        open=1
    else
        echo "shut: $test finds $fault: $(grep -m1 -E "$reason" "$log")"
    fi
done <<<"$gates"
if ((planted == 0)); then
    echo "no fault is named like ${1:-}"
    exit 1
fi
exit "$open"
