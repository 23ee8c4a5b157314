#!/usr/bin/env bash
# What cargo calls instead of rustc for the crate under test (RUSTC_WORKSPACE_WRAPPER, set by tests/suites.sh): a test binary
# is linked with heaptally, whose crate nothing in it names. Its source stays as it was published.
#
# That an external crate is linked without being named is asked of rustc with `--extern force:`, which it has not declared
# stable. Test binaries that have a global allocator of their own are left alone, and named in HEAPTALLY_SUITES_LEFT_OUT.
set -euo pipefail
rustc=$1
shift

is_test=no
arguments=()
for argument; do
    case "$argument" in
        --test) is_test=yes ;;
        heaptally_injected=*) argument=force:$argument ;;
        *.rs) root=$argument ;;
    esac
    arguments+=("$argument")
done
if [ "$is_test" = no ]; then
    exec "$rustc" "$@"
fi
if grep -q '#\[global_allocator\]' "$root"; then
    echo "$root" >>"$HEAPTALLY_SUITES_LEFT_OUT"
    exec "$rustc" "$@"
fi
export RUSTC_BOOTSTRAP=1
exec "$rustc" "${arguments[@]}" -Zunstable-options
