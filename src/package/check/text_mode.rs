//! A program that came as text: FTP's text mode puts a CR before each LF, and no byte of it is
//! where it was.

use std::io::{BufReader, Read};
use std::path::Path;

use super::open;
use crate::model::Failure;

/// What begins an ELF file; it has no line end, so text mode leaves it alone.
const ELF: &[u8] = b"\x7fELF";
/// Line ends that make it certain: bytes have the value of an LF by chance, and of a CR before each
/// of them they do not.
const ENOUGH: u32 = 4;
/// How much is looked at.
const MOST: u64 = 64 << 20;

/// The failure of a check, which says so where the file came in text mode.
pub(super) fn explained(failure: Failure, path: &Path) -> Failure {
    if !open(path).is_ok_and(|file| came_as_text(file.take(MOST))) {
        return failure;
    }
    let sentence =
        format!("the file came in text mode, which puts a CR before each LF: {}", failure.sentence);
    Failure { sentence, ..failure }
        .with_hint("send it in binary mode: `binary`, or TYPE I, before it is stored")
}

fn came_as_text(file: impl Read) -> bool {
    let (mut before, mut line_ends) = (0, 0);
    for (position, byte) in
        BufReader::with_capacity(64 << 10, file).bytes().map_while(Result::ok).enumerate()
    {
        if ELF.get(position).is_some_and(|expected| *expected != byte) {
            return false;
        }
        if byte == b'\n' {
            if before != b'\r' {
                return false;
            }
            line_ends += 1;
        }
        before = byte;
    }
    line_ends >= ENOUGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cr_before_each_lf_of_a_program_is_text() {
        for (bytes, expected) in [
            (&b"\x7fELF\r\n\r\n..\r\n.\r\n"[..], true),
            (b"\x7fELF\r\n\r\n..\n.\r\n\r\n", false),
            (b"\x7fELF\r\n\r\n..\r\n", false),
            (b"#!/bin/sh\r\n\r\n\r\n\r\n", false),
            (b"\x7fEL", false),
            (b"", false),
        ] {
            assert_eq!(came_as_text(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
