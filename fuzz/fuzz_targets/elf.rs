//! Any bytes as a program: read to an answer, and what is proven whole is not proven when anything
//! is missing.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use uplift::package::elf::{End, read};

fuzz_target!(|bytes: &[u8]| {
    let Ok(elf) = read(Cursor::new(bytes)) else { return };
    if elf.end == End::Proven {
        let shorter = read(Cursor::new(&bytes[..bytes.len() - 1]));
        assert!(shorter.map_or(true, |shorter| shorter.end != End::Proven));
    }
});
