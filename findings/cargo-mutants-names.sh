#!/bin/sh
# cargo-mutants' filter by name does not filter mutants that leave out a field of a struct.
#
# Behaviour: `cargo mutants --re REGEX` says in its help that it is matched against the names of mutants. Mutants "delete field … from struct …
# expression" are tested whatever the expression says, so that a run of one named mutant in a large project takes in dozens of others.
# Most would guess: an expression that is the whole name of one mutant selects that one.
#
# Shown with cargo-mutants 27.1.0. Needs cargo; writes only below a temporary directory and in cargo's cache of downloads.
set -eu
VERSION=27.1.0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo install --quiet --locked --root "$work/tools" "cargo-mutants@$VERSION"
mutants="$work/tools/bin/cargo-mutants"
"$mutants" mutants --version

mkdir -p "$work/small/src"
cd "$work/small"
printf '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n' >Cargo.toml
cat >src/lib.rs <<'END'
#[derive(Default)]
pub struct Point {
    pub x: i32,
    pub y: i32,
}

pub fn right(x: i32) -> Point {
    Point { x, ..Point::default() }
}

pub fn double(x: i32) -> i32 {
    x * 2
}
END

name='^src/lib\.rs:12:5: replace double -> i32 with 0$'
"$mutants" mutants --list --re "$name" | tee listed
status=0
grep -q 'delete field x from struct Point' listed || status=1
[ "$(wc -l <listed)" -eq 2 ] || status=1
if [ "$status" -ne 0 ]; then
    echo "cargo-mutants $VERSION selects otherwise than was seen"
fi
exit "$status"
