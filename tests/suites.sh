#!/usr/bin/env bash
# Other people's tests, as they are published, on heaptally: it is linked into each test binary, and tracks from before `main`
# on.
#
#   bash tests/suites.sh               all crates below, over the system's allocator, jemalloc and mimalloc
#   bash tests/suites.sh slab bytes    some of them
#   bash tests/suites.sh --system slab over the system's allocator only
#
# For each crate: its unit and integration tests run without heaptally, and then with it. The same tests must pass. At its end
# each process looks at its numbers (tests/suites/inject): totals must be equal to what a ledger outside has counted, the rows
# of a snapshot must add up to them, no block may be unknown when it is freed, and each 97th stack is compared with the
# platform's unwinder. Documentation tests are left out, and so are test binaries with a global allocator of their own.
# A process that ends otherwise than by `exit` cannot look at its numbers; there are those that a test aborts on purpose.
#
# The crates are fetched by cargo; what heaptally depends on has the versions of tests/suites/inject/Cargo.lock, so that it is
# built once for most of them. Without a registry nothing is checked, which is said. Needs a C compiler and make (for jemalloc
# and mimalloc).
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
scratch=$checkout/target/suites
export CARGO_TERM_COLOR=never CARGO_PROFILE_DEV_DEBUG=0
# As in a program that is shipped, but that the hot crate's own checks stay on. Unoptimized, jemalloc alone needs more stack
# than the 16 KiB that threads of one suite have.
optimized=(heaptally_injected heaptally heaptally-capture heaptally-profile heaptally-tests)
# The longest that one run of a suite may take.
patience_seconds=1200

# All of a crate's unit and integration tests.
all="--lib --tests"
# Of tokio those of the runtime, of tasks, of what they wait for, of the network, of signals and of child processes: all of them
# take an hour to link.
tokio="--features full,test-util --lib"
for test in rt_basic rt_threaded rt_common rt_handle rt_panic rt_local task_abort task_blocking task_join_set task_local \
    task_local_set task_panic sync_mpsc sync_broadcast sync_mutex sync_rwlock sync_semaphore sync_oneshot sync_watch \
    io_copy io_split io_driver macros_select tcp_stream tcp_echo uds_stream udp process_smoke process_kill_on_drop \
    signal_ctrl_c signal_multi_rt time_sleep time_interval fs_file; do
    tokio+=" --test $test"
done
# Crate, version, and its tests.
crates=(
    "slab 0.4.12 $all"
    "smallvec 1.16.6 $all"
    "dashmap 6.2.1 $all"
    "crossbeam-deque 0.8.8 $all"
    "crossbeam-epoch 0.9.21 $all"
    "crossbeam-utils 0.8.23 $all"
    "thread_local 1.1.10 $all"
    "once_cell 1.21.4 $all"
    "bytes 1.12.2 $all"
    "parking_lot 0.12.5 $all"
    "rayon-core 1.13.0 $all"
    "http 1.5.0 $all"
    "indexmap 2.14.2 $all"
    "memchr 2.8.3 $all"
    "rayon 1.12.0 $all"
    "serde_json 1.0.154 $all"
    "tokio 1.54.1 $tokio"
)

inners=(system jemalloc mimalloc)
features='"jemalloc", "mimalloc"'
optimized+=(tikv-jemalloc-sys tikv-jemallocator libmimalloc-sys mimalloc)
if [ "${1:-}" = --system ]; then
    inners=(system)
    features=
    optimized=("${optimized[@]:0:5}")
    shift
fi
if [ $# -gt 0 ]; then
    chosen=()
    for name; do
        found=no
        for crate in "${crates[@]}"; do
            [ "${crate%% *}" = "$name" ] && { chosen+=("$crate"); found=yes; }
        done
        [ "$found" = yes ] || { echo "suites: no crate $name in the list" >&2; exit 2; }
    done
    crates=("${chosen[@]}")
fi

# All sources, by a package that depends on all of them.
mkdir -p "$scratch/fetch/src" "$scratch/logs"
touch "$scratch/fetch/src/lib.rs"
{
    printf '[package]\nname = "fetch"\nedition = "2024"\n[workspace]\n[dependencies]\n'
    for crate in "${crates[@]}"; do
        read -r name version _ <<<"$crate"
        echo "$name = \"=$version\""
    done
} >"$scratch/fetch/Cargo.toml"
rm -f "$scratch/fetch/Cargo.lock"
if ! cargo fetch --quiet --manifest-path "$scratch/fetch/Cargo.toml"; then
    echo "skipped: other people's tests (cargo could not fetch them)"
    exit 0
fi
sources=$(cargo metadata --offline --format-version 1 --manifest-path "$scratch/fetch/Cargo.toml" |
    grep -o '"manifest_path":"[^"]*/Cargo\.toml"' | cut -d '"' -f 4)

# A copy of a crate's source, whose tests depend on heaptally.
copy() {
    local from copy=$scratch/$1
    from=$(grep "/$1-${2//./\\.}/Cargo\.toml\$" <<<"$sources")
    rm -rf "$copy"
    # With times of now: what cargo has built of the copy before is taken for this by time.
    cp -r "${from%/Cargo.toml}" "$copy"
    {
        printf '\n[dev-dependencies.heaptally_injected]\npath = "%s"\nfeatures = [%s]\n' "$checkout/tests/suites/inject" \
            "$features"
        printf '\n[workspace]\n'
        # Its tests use crates that depend on it, and mean this one.
        [ "$1" != tokio ] || printf '\n[patch.crates-io.tokio]\npath = "."\n'
        printf '\n[profile.dev.package.%s]\nopt-level = 2\n' "${optimized[@]}"
    } >>"$copy/Cargo.toml"
    cp tests/suites/inject/Cargo.lock "$copy/Cargo.lock"
    rm -f "$copy/rust-toolchain.toml"
}

# Runs a crate's tests, with the arguments that choose them; the rest are variables of the environment.
tests() {
    local name=$1 chosen log=$3
    read -ra chosen <<<"$2"
    shift 3
    env "$@" timeout "$patience_seconds" cargo test "${chosen[@]}" --no-fail-fast \
        --manifest-path "$scratch/$name/Cargo.toml" --target-dir "$scratch/target" >"$log" 2>&1
}

# The tests of a log that passed, sorted; where a binary is run twice, or two have one of that name, twice.
passed() { grep -E '^test .* \.\.\. ok$' "$1" | sort || true; }

# What all processes of a run have said, in one row: binaries, processes with an exact end, with a busy one, without one, and
# blocks. Fails if any number was violated.
sum_up() {
    awk '
        $2 == "began" { began++; next }
        $2 == "exact" { exact++; blocks += $3; stacked += $4; verified += $6; next }
        $2 == "busy" { busy++; blocks += $3; stacked += $4; verified += $6; next }
        { print > "/dev/stderr"; violated++ }
        END {
            printf "%d %d %d %d %d %d\n", exact, busy, began - exact - busy - violated, blocks, stacked, verified
            exit violated > 0 || exact == 0
        }' "$1"
}

faults=0
failed() { echo "suites: $*" >&2; faults=$((faults + 1)); }

row='| %-16s | %-8s | %8s | %10s | %9s | %9s | %9s | %9s | %5s | %4s | %7s | %12s | %8s |\n'
# shellcheck disable=SC2059
printf "$row" crate version binaries "left out" system heaptally jemalloc mimalloc exact busy aborted blocks verified
# shellcheck disable=SC2059
printf "$row" --- --- ---: ---: ---: ---: ---: ---: ---: ---: ---: ---: ---:
for crate in "${crates[@]}"; do
    read -r name version arguments <<<"$crate"
    logs=$scratch/logs/$name
    copy "$name" "$version"
    tests "$name" "$arguments" "$logs.plain" || true
    if ! grep -q '^test result: ' "$logs.plain"; then
        failed "$name does not build, or has no tests: see $logs.plain"
        continue
    fi
    binaries=$(grep -c '^test result: ' "$logs.plain")
    plain=$(passed "$logs.plain" | wc -l)
    declare -A count=([jemalloc]=- [mimalloc]=-)
    exact=0 busy=0 aborted=0 blocks=0 verified=0
    rm -f "$logs.left_out"
    touch "$logs.left_out"
    for inner in "${inners[@]}"; do
        rm -f "$logs.$inner.report"
        touch "$logs.$inner.report"
        tests "$name" "$arguments" "$logs.$inner" "RUSTC_WORKSPACE_WRAPPER=$checkout/tests/suites/rustc.sh" \
            "HEAPTALLY_SUITES_LEFT_OUT=$logs.left_out" "HEAPTALLY_SUITES_REPORT=$logs.$inner.report" \
            "HEAPTALLY_SUITES_INNER=$inner" || true
        if ! diff <(passed "$logs.plain") <(passed "$logs.$inner") >"$logs.$inner.diff"; then
            failed "$name: other tests pass on heaptally over $inner than without it: see $logs.$inner.diff"
        fi
        count[$inner]=$(passed "$logs.$inner" | wc -l)
        sums=$(sum_up "$logs.$inner.report") || failed "$name over $inner: not conserved, or no process said so"
        read -r one_exact one_busy one_aborted one_blocks _ one_verified <<<"$sums"
        exact=$((exact + one_exact)) busy=$((busy + one_busy)) aborted=$((aborted + one_aborted))
        blocks=$((blocks + one_blocks)) verified=$((verified + one_verified))
    done
    left_out=$(wc -l <"$logs.left_out")
    # shellcheck disable=SC2059
    printf "$row" "$name" "$version" "$binaries" "$left_out" "$plain" "${count[system]}" "${count[jemalloc]}" \
        "${count[mimalloc]}" "$exact" "$busy" "$aborted" "$blocks" "$verified"
done

# A suite that never fails proves nothing: a block goes past heaptally in the first crate.
read -r name _ arguments <<<"${crates[0]}"
report=$scratch/logs/$name.fault.report
rm -f "$report"
tests "$name" "$arguments" "$scratch/logs/$name.fault" "RUSTC_WORKSPACE_WRAPPER=$checkout/tests/suites/rustc.sh" \
    "HEAPTALLY_SUITES_LEFT_OUT=/dev/null" "HEAPTALLY_SUITES_REPORT=$report" HEAPTALLY_SUITES_FAULT=on || true
if sum_up "$report" >/dev/null 2>"$scratch/logs/$name.fault.violations"; then
    failed "a block that goes past heaptally in $name was not found"
else
    echo "a block that goes past heaptally in $name is found:"
    head -1 "$scratch/logs/$name.fault.violations" | sed 's/^[0-9]* //; s| [^ ]*/\([^/ ]*\)$| (\1)|'
fi

[ "$faults" -eq 0 ] || { echo "suites: $faults failed" >&2; exit 1; }
