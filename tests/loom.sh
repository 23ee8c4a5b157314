#!/usr/bin/env bash
# Small programs on the lock-free parts of the hot crate, in all their interleavings: see docs/memory-ordering.md, "Models".
#
#   bash tests/loom.sh            as far as each model says: all interleavings, or a bound on preemptions. Minutes.
#   bash tests/loom.sh --quick    one preemption in each model. Planted faults are looked for as far as ever.
#   bash tests/loom.sh ring       models whose names contain a text
#
# The bounds: a preemption takes the processor from a thread that could have gone on. Models of two short threads have none.
# Where threads have many steps, or are three, interleavings are too many, and a model stops at two to four preemptions. Every
# fault that is planted is found with three, most with one.
#
# A model that holds prints in how many runs; a planted fault, in which run it was found. A fault that is not found fails the
# model: it proves nothing then.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --quick ]; then
    export LOOM_MAX_PREEMPTIONS=1
    shift
fi
# A name of our own, not `loom`: programs that use loom for themselves build their dependencies with that.
export RUSTFLAGS="--cfg heaptally_loom --cfg heaptally_no_asm"
# Checks are on, as in other tests, and the code is fast enough for millions of runs.
export CARGO_PROFILE_TEST_OPT_LEVEL=3
# Two at a time: a model is one thread of the system.
cargo test --quiet -p heaptally-capture --lib --target-dir target/loom "${1:-models::}" -- --nocapture --test-threads=2
