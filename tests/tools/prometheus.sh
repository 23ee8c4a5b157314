#!/usr/bin/env bash
# Metrics are what Prometheus' own checker accepts, and follow its rules for names, units and types.
#
# Without the checker nothing is checked, which is said. With `--require` it is installed if it is missing, and not being
# able to is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
scratch=$PWD/target/tools/prometheus

fail() { echo "prometheus: $*" >&2; exit 1; }

is_there() { command -v promtool >/dev/null; }

if [ "${1:-}" = --require ] && ! is_there; then
    apt-get update -q && apt-get install -y -q --no-install-recommends prometheus || fail "prometheus could not be installed"
    is_there || fail "no promtool, though prometheus is installed"
fi
if ! is_there; then
    echo "skipped: promtool (apt-get install prometheus)"
    exit 0
fi

rm -rf "$scratch"
mkdir -p "$scratch"
cargo run --quiet --release --example export --features prometheus -- prometheus "$scratch/metrics.prom" >"$scratch/expected.txt"
promtool check metrics <"$scratch/metrics.prom" || fail "promtool refuses $scratch/metrics.prom, for the reasons above"
# The functions that the program printed, with their live bytes.
while read -r name _ _ _ live_bytes; do
    case $name in
    *::*) ;;
    *) continue ;;
    esac
    line="heaptally_function_live_bytes{code_function_name=\"$name\",module=\"export\"} $live_bytes"
    grep -qxF "$line" "$scratch/metrics.prom" || fail "no line '$line' in $scratch/metrics.prom"
done <"$scratch/expected.txt"
echo "promtool accepts $(grep -c '^# TYPE' "$scratch/metrics.prom") metrics"
