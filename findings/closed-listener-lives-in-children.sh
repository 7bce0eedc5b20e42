#!/bin/sh
# A listener that Rust's standard library has closed is still there for as long as any child of the process is being started.
#
# Behaviour: `std::process::Command` starts a child that shares its parent's memory and has copies of all its descriptors, and close-on-exec closes
# those only once the child runs its own program, about a millisecond later. A TcpListener that is dropped in between lives on in the child, and its
# address can't be bound again (EADDRINUSE, although the library sets SO_REUSEADDR). With three threads that start children about half of all attempts
# to listen again fail.
# Most would guess: close-on-exec keeps a descriptor from children, and who drops the only listener frees its port.
#
# Shown with Rust 1.95.0 (standard library, no crates) on Linux 6.18, glibc 2.36. Needs rustc; writes only below a temporary directory.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >probe.rs <<'END'
use std::net::TcpListener;
use std::process::Command;
use std::thread;

const TRIES: u32 = 5000;

fn main() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let again = || (0..TRIES).filter(|_| TcpListener::bind(address).is_err()).count();
    println!("{} of {TRIES} attempts failed without children", again());
    for _ in 0..3 {
        thread::spawn(|| loop {
            Command::new("true").status().unwrap();
        });
    }
    let failed = again();
    println!("{failed} of {TRIES} attempts failed while children are started");
    assert!(failed > 0);
}
END
rustc --version
uname -r
rustc -O --edition 2021 probe.rs -o probe
./probe >said || { cat said; echo "the behaviour has changed"; exit 1; }
cat said
grep -q '^0 of 5000 attempts failed without children$' said || { echo "the behaviour has changed"; exit 1; }
