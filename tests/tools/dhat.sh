#!/usr/bin/env bash
# DHAT files open in the viewer that valgrind comes with: loads one into dh_view.html in a browser without a window, as a
# person would with its button, and looks for the sums that the program printed.
#
# Without the viewer or the browser nothing is checked, which is said. With `--require` what is missing is installed, and
# not being able to is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
scratch=$PWD/target/tools/dhat
viewer=/usr/libexec/valgrind

fail() { echo "dhat: $*" >&2; exit 1; }

is_there() { command -v chromium >/dev/null && [ -e "$viewer/dh_view.html" ]; }

if [ "${1:-}" = --require ] && ! is_there; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium valgrind; } >&2 ||
        fail "chromium and valgrind could not be installed"
    is_there || fail "no $viewer/dh_view.html, though valgrind is installed"
fi
if ! is_there; then
    echo "skipped: DHAT's viewer (apt-get install chromium valgrind)"
    exit 0
fi

rm -rf "$scratch"
mkdir -p "$scratch"
cargo run --quiet --release --example export --all-features -- dhat "$scratch/heap.json" >"$scratch/sums.txt"
read -r _ _ _ live_blocks live_bytes <"$scratch/sums.txt"

# The viewer itself, and a script that gives its file input a file.
cp "$viewer"/dh_view.{css,js} "$scratch/"
{
    cat "$viewer/dh_view.html"
    echo '<script>const text = '
    cat "$scratch/heap.json"
    cat <<'HTML'
addEventListener("load", () => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([JSON.stringify(text)], "heap.json"));
    gInput.files = transfer.files;
    loadFile();
});
</script>
HTML
} >"$scratch/page.html"
timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --user-data-dir="$scratch/profile" --virtual-time-budget=20000 --dump-dom \
    "file://$scratch/page.html" >"$scratch/dom.html" 2>"$scratch/chromium.log" || fail "chromium ended with status $?: see $scratch"

# What a person sees: without tags, and without commas in numbers.
sed '/<script>/,/<\/script>/d; s/<[^>]*>//g; s/&amp;/\&/g; s/&lt;/</g; s/&gt;/>/g' "$scratch/dom.html" | sed ':a; s/\([0-9]\),\([0-9]\)/\1\2/; ta' \
    >"$scratch/seen.txt"
expect() { grep -qE "$1" "$scratch/seen.txt" || fail "no line like '$1' in $scratch/seen.txt"; }
expect "Mode: +rust-heap"
expect "Total: +$live_bytes bytes \(100%.* in $live_blocks blocks \(100%"
# 1,000 blocks of 512 bytes.
expect "Total: +512000 bytes .* in 1000 blocks .*avg size 512 bytes"
expect "#[0-9]+: 0x[0-9a-f]+: .*export::keep"
echo "DHAT's viewer shows $live_bytes bytes in $live_blocks blocks"
