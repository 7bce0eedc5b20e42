//! Any bytes behind an ELF magic: read to an answer, and what is proven whole is not proven when anything is missing.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use uplift::package::elf::{End, read};

fuzz_target!(|input: (u8, &[u8])| {
    let (variant, rest) = input;
    // Class and byte order vary, the magic need not be found by chance.
    let bytes = &[&[0x7f, b'E', b'L', b'F', 1 + (variant & 1), 1 + (variant >> 1 & 1)], rest].concat();
    let Ok(elf) = read(Cursor::new(bytes)) else { return };
    if elf.end == End::Proven {
        let shorter = read(Cursor::new(&bytes[..bytes.len() - 1]));
        assert!(shorter.map_or(true, |shorter| shorter.end != End::Proven));
    }
});
