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
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus; } >&2 ||
        fail "prometheus could not be installed"
    is_there || fail "no promtool, though prometheus is installed"
fi
if ! is_there; then
    echo "skipped: promtool (apt-get install prometheus)"
    exit 0
fi

rm -rf "$scratch"
mkdir -p "$scratch"
cargo run --quiet --release --example export --all-features -- prometheus "$scratch/metrics.prom" >"$scratch/sums.txt"
promtool check metrics <"$scratch/metrics.prom" || fail "promtool refuses $scratch/metrics.prom, for the reasons above"
# 1,000 blocks of 512 bytes, in a function of the example or in its closure.
function='{code_function_name="export::keep[^"]*",module="export"}'
for line in "heaptally_function_live_bytes$function 512000" "heaptally_function_live_blocks$function 1000"; do
    grep -qx "$line" "$scratch/metrics.prom" || fail "no line like '$line' in $scratch/metrics.prom"
done
echo "promtool accepts $(grep -c '^# TYPE' "$scratch/metrics.prom") metrics"
