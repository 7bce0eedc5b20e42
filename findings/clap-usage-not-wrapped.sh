#!/bin/sh
# clap wraps its help to the width of the terminal, but not the line that begins with "Usage:".
#
# Behaviour: with the feature `wrap_help` and a width of 45 columns every line of the help has at most 45 columns, except for the usage: with
# several options that must be given it is one line, as long as it likes, and the terminal breaks it wherever it ends, inside of an option's name.
# Most would guess: `term_width` and the feature hold for all of the help.
#
# Shown with clap 4.6.7. Needs cargo; writes only below a temporary directory.
set -eu
VERSION=4.6.7

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<END
[package]
name = "shown"
version = "0.0.0"
edition = "2021"
[dependencies]
clap = { version = "=$VERSION", features = ["derive", "wrap_help"] }
END
cat >src/main.rs <<'END_OF_PROGRAM'
use clap::{CommandFactory, Parser};

/// Does something with two files, which takes a sentence that is longer than a narrow terminal is wide.
#[derive(Parser)]
#[command(name = "shown", term_width = 45)]
struct Arguments {
    /// The file that is read, of which this sentence tells more than fits on one narrow line.
    #[arg(long, value_name = "FILE")]
    first_of_the_files: String,
    /// The other one.
    #[arg(long, value_name = "FILE")]
    second_of_the_files: String,
}

fn main() {
    let help = Arguments::command().render_help().to_string();
    let longest = |is_usage: bool| {
        let lines = help.lines().filter(|line| line.starts_with("Usage:") == is_usage);
        lines.map(|line| line.chars().count()).max().unwrap_or_default()
    };
    println!("{help}");
    println!("longest line but the usage: {}; the usage: {}", longest(false), longest(true));
}
END_OF_PROGRAM
CARGO_PROFILE_DEV_DEBUG=0 cargo run --quiet >out 2>err || { cat err >&2; exit 1; }
echo "clap $VERSION, a width of 45 columns:"
cat out
numbers=$(sed -n 's/^longest line but the usage: \([0-9]*\); the usage: \([0-9]*\)$/\1 \2/p' out)
# shellcheck disable=SC2086 # two words are wanted
set -- $numbers
[ "$1" -le 45 ] || { echo "changed: other lines are not wrapped either" >&2; exit 1; }
[ "$2" -gt 45 ] || { echo "changed: the usage is wrapped" >&2; exit 1; }
