//! Any bytes as a stream: what comes of it is never more than was said, and nothing is read past a
//! mistake. The first three bytes choose window and size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::package::codec::{DecodeError, decode};

/// Counts, and remembers nothing.
struct Counted(u64);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&[window, low, high], stream)) = input.split_first_chunk::<3>() else { return };
    let window = 1024 << (window % 13);
    let size = u64::from(u16::from_le_bytes([low, high]));
    let mut counted = Counted(0);
    let result = decode(window, size, stream, &mut counted);
    assert!(counted.0 <= size);
    match result {
        Ok(()) => assert_eq!(counted.0, size),
        Err(DecodeError::TooShort { found, expected }) => {
            assert_eq!((found, expected), (counted.0, size))
        }
        Err(error) => drop(error.to_string()),
    }
});
