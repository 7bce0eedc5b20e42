#!/bin/sh
# A crate that Cargo compiles for speed in a program for size loses its vector instructions once the program is linked as one.
#
# Behaviour: with `opt-level = "z"` (or "s") for the program and `[profile.release.package.CRATE] opt-level = 3`, the loops of the crate become
# instructions for many bytes at once as long as `lto` is off. With `lto = "thin"` or "fat" not one does, nothing says so, and the loop below takes
# two to three times as long: that work is left to the linking, which has the level of the program. Cargo.toml says 3 all the while, and inlining and
# the rest are done as at 3.
# Most would guess: a package's own opt-level holds for its code however it is linked, and LTO makes nothing slower.
#
# Shown with bytecount 0.6.9 (crates.io), whose `naive_count` is a loop over bytes, by Rust 1.95.0 on amd64. Needs cargo, objdump (binutils) and an
# amd64 machine; writes only below a temporary directory.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'END'
[package]
name = "probe"
version = "0.1.0"
edition = "2021"

[dependencies]
bytecount = "=0.6.9"

[profile.release]
opt-level = "z"
codegen-units = 1

[profile.release.package.bytecount]
opt-level = 3

[workspace]
END
cat >src/main.rs <<'END'
fn main() {
    let bytes = vec![std::env::args().count() as u8; 1 << 24];
    let (began, mut found) = (std::time::Instant::now(), 0);
    for _ in 0..20 {
        found += count(std::hint::black_box(&bytes));
    }
    println!("{found} bytes found in {} ms", began.elapsed().as_millis());
}

#[inline(never)]
fn count(bytes: &[u8]) -> usize {
    bytecount::naive_count(bytes, 1)
}
END
rustc --version
for lto in off thin fat; do
    CARGO_PROFILE_RELEASE_LTO=$lto cargo build --quiet --release --target-dir "target-$lto"
    program=target-$lto/release/probe
    # The loop is in the one or in the other.
    objdump -d --no-show-raw-insn "$program" | awk '/(naive_count|5probe5count).*>:$/ { inside = 1 } inside { print } /^$/ { inside = 0 }' >code
    grep -q '>:$' code || { echo "the functions are not to be found"; exit 1; }
    vectors=$(grep -c xmm code || true)
    echo "lto $lto: $vectors instructions with vectors where bytes are counted; $("$program")"
    case $lto in
        off) [ "$vectors" -gt 0 ] ;;
        *) [ "$vectors" -eq 0 ] ;;
    esac || { echo "the behaviour has changed"; exit 1; }
done
