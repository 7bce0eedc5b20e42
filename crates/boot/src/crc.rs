//! CRC-32 (IEEE) by a table: bit by bit, 448 KiB at 16 MHz would take seconds (ST-23).

/// Reflected polynomial.
const POLYNOMIAL: u32 = 0xEDB8_8320;
const TABLE: [u32; 256] = table();

/// A CRC-32 (IEEE, as in zip and PNG) that bytes are added to.
#[derive(Debug, Clone, Copy)]
pub struct Crc(u32);

impl Crc {
    /// Of no bytes yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Adds these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let index = (self.0 as u8) ^ byte;
            self.0 = (self.0 >> 8) ^ TABLE[index as usize];
        }
    }

    /// Of all that was added.
    #[must_use]
    pub const fn finish(self) -> u32 {
        !self.0
    }
}

impl Default for Crc {
    fn default() -> Self {
        Self::new()
    }
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ if value & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}
