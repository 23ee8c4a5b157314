#!/usr/bin/env bash
# A service that does for as long as asked whatever may wear heaptally out, and a line each minute on how it stands.
#
#   bash tests/soak.sh          half an hour
#   bash tests/soak.sh 480      so many minutes
#   bash tests/soak.sh 15s      so many seconds, with three lines
#
# Four workers meet new stacks all the time, recurse under 2,000 frames, load and unload libraries, start threads that end,
# resize, allocate up to 6 MiB at once and free each other's blocks. A reader takes snapshots, differences, the history, the
# peak and suspects, and writes all formats; subscriptions come and go; a child is forked every five seconds, counts and
# ends; tracking is paused now and then; and one function leaks 13 KiB a second at most. For each line everybody stops at a gate. The
# columns, in MiB unless they are numbers of things:
# - resident; live of the program; heaptally's own in all, of which tables, heap and page map (docs/metrics.md, "Overhead")
# - stacks, frames, rules, states of threads, counters, rings and the history: what is in use of each bound
# - losses: ends of stacks that found no room, and stacks beyond the depth limit. Any other loss is a failure
# - children that have ended well; stacks that were compared with the platform's unwinder
# - blocks allocated since the process began: totals are equal to what an allocator outside has counted, rows add up to the
#   totals, and the row of each function that makes the service's blocks is equal to the service's own account of it, in all
#   four counters
# - suspects: after two and a half minutes the function that leaks must be one
# It ends with status 1 when a number is not equal, a bound is passed, or tables or heap are more than docs/metrics.md says
# under "What that comes to".
#
# Needs two processors, 1 GiB of memory, a C compiler (for the libraries), and an address space without a limit. What a run of
# half an hour said is in docs/soak.md.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-30}" in
    *s) seconds=${1%s} ;;
    *) seconds=$((${1:-30} * 60)) ;;
esac

cargo build --quiet --release -p heaptally-tests --features soak --bin soak
soak=${CARGO_TARGET_DIR:-target}/release/soak

# A line that is never wrong proves nothing: the service leaves one block out of its account.
status=0
"$soak" 3 --miscount >target/soak_miscount.log || status=$?
if [ "$status" -ne 1 ] || ! grep -q '^FAILED: soak::leaves::leaked: ' target/soak_miscount.log; then
    echo "soak: a block that the service does not know of was not found" >&2
    exit 1
fi

exec "$soak" "$seconds"
