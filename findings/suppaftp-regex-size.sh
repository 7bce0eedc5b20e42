#!/bin/sh
# An FTP client library without any of its features brings a large engine for regular expressions into a small program.
#
# Behaviour: suppaftp with `default-features = false` reads replies of a server with some short regular expressions, by lazy-regex and the
# whole `regex` crate, with its tables of Unicode. No feature of suppaftp leaves that out or chooses a smaller engine. In a program that
# connects, logs in and asks for a listing, optimised for size, more than half of all that has a symbol is that engine.
# Most would guess: without features it is sockets and some parsing of lines, and what is left out can be chosen.
#
# Shown with suppaftp 12.2.1, regex 1.13.2. Needs cargo, a C linker and nm (binutils); writes only below a temporary directory.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'END_OF_TOML'
[package]
name = "client"
version = "0.0.0"
edition = "2021"

[dependencies]
suppaftp = { version = "=12.2.1", default-features = false }
regex = "=1.13.2" # the same that suppaftp brings

[profile.release]
opt-level = "z"
lto = "fat"
codegen-units = 1
panic = "abort"
END_OF_TOML
cat >src/main.rs <<'END_OF_RUST'
fn main() {
    let address = std::env::args().nth(1).expect("the address of a server");
    let mut client = suppaftp::FtpStream::connect(address).expect("a server");
    client.login("name", "password").expect("a login");
    client.set_mode(suppaftp::Mode::Passive);
    for line in client.list(None).expect("a listing") {
        println!("{line}");
    }
}
END_OF_RUST
cargo build --quiet --release
cargo tree --edges normal,no-proc-macro --prefix depth | grep -E '^[0-9]+(client|suppaftp|lazy-regex|regex[a-z-]*|aho-corasick) ' | sed "s| ($work)||"
nm --size-sort --print-size --radix=d --demangle target/release/client |
    awk '{ all += $2 } /regex_automata|regex_syntax|aho_corasick|[ <]regex::/ { engine += $2 }
         END { printf "all symbols: %d bytes; those of the engine: %d bytes\n", all, engine; exit engine < all / 2 }' || {
    echo "This has changed: the engine is small, or left out." >&2
    exit 1
}
echo "the program, stripped: $(strip -o stripped target/release/client && wc -c <stripped) bytes"
