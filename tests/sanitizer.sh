# Sourced by tests/asan.sh and tests/tsan.sh: what both need of a nightly toolchain.

target=x86_64-unknown-linux-gnu

# Ends the script, and says so, where the toolchain does not have the sanitizer: needs_sanitizer asan AddressSanitizer
needs_sanitizer() {
    sysroot=$(rustc +nightly --print sysroot 2>/dev/null) ||
        { echo "skipped: no nightly toolchain (rustup toolchain install nightly)"; exit 0; }
    compgen -G "$sysroot/lib/rustlib/$target/lib/librustc*rt.$1.a" >/dev/null ||
        { echo "skipped: the nightly toolchain has no $2 for $target"; exit 0; }
}
