//! The fixed bytes of a seal: the header that begins a file, the footer that ends one. Both say how
//! long manifest and signature are, and hold their checksum.

use crc::{CRC_32_ISO_HDLC, Crc};

use super::{LARGEST_SEAL, SealError};

/// Bytes of a header, and of a footer.
pub(super) const SIZE: usize = 32;
/// The format of a seal, in both.
pub(super) const SEAL: u32 = 1;
/// The format of a container, which has a header.
pub(super) const CONTAINER: u32 = 2;
/// Its first byte is no text, so that no text ends like this; its last one shows a transfer that
/// changes line ends.
pub(super) const FOOTER_MAGIC: [u8; 8] = *b"\x89UPLIFT\n";
/// It begins no text, and no transfer that changes line ends leaves it as it is.
pub(super) const HEADER_MAGIC: [u8; 8] = *b"\x89UPL\r\n\x1a\n";
/// The CRC of gzip and zip.
const CRC_32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Manifest and signature, as they are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) manifest: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// What a header or a footer says.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    manifest: usize,
    signature: usize,
    checksum: u32,
}

impl Lengths {
    /// Reads the four numbers, format first.
    fn read(numbers: &[u8; 16], expected: u32) -> Result<Self, SealError> {
        let number = |at: usize| {
            u32::from_le_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]])
        };
        if number(0) != expected {
            return Err(SealError::UnknownFormat(number(0)));
        }
        let length = |at: usize| usize::try_from(number(at)).map_err(|_| SealError::Lengths);
        Ok(Self { manifest: length(4)?, signature: length(8)?, checksum: number(12) })
    }

    /// Bytes of the whole seal.
    fn total(self) -> Result<usize, SealError> {
        self.manifest
            .checked_add(self.signature)
            .and_then(|length| length.checked_add(SIZE))
            .filter(|length| *length <= LARGEST_SEAL)
            .ok_or(SealError::Lengths)
    }

    /// `covered` is what the checksum covers besides.
    fn split<'a>(
        self,
        bytes: &'a [u8],
        covered: &[u8],
        reserved: [u8; 8],
    ) -> Result<Parts<'a>, SealError> {
        let (manifest, signature) =
            bytes.split_at_checked(self.manifest).ok_or(SealError::Lengths)?;
        let parts = Parts { manifest, signature };
        if parts.checksum(covered) != self.checksum {
            return Err(SealError::Checksum);
        }
        if reserved != [0; 8] {
            return Err(SealError::Reserved);
        }
        Ok(parts)
    }
}

impl<'a> Parts<'a> {
    /// Of the seal that ends `tail`; `None` where it does not end like one.
    pub(super) fn behind(tail: &'a [u8]) -> Result<Option<Self>, SealError> {
        let Some((before, footer)) = tail.split_last_chunk::<SIZE>() else { return Ok(None) };
        let (numbers, reserved, magic) = cut(footer);
        if magic != FOOTER_MAGIC {
            return Ok(None);
        }
        let lengths = Lengths::read(&numbers, SEAL)?;
        let start = (before.len() + SIZE).checked_sub(lengths.total()?);
        let bytes = before.get(start.ok_or(SealError::Lengths)?..).unwrap_or_default();
        lengths.split(bytes, &numbers[..12], reserved).map(Some)
    }

    /// Of the seal that begins `head`; `None` where it does not begin like one.
    pub(super) fn before(head: &'a [u8]) -> Result<Option<Self>, SealError> {
        if !head.starts_with(&HEADER_MAGIC) {
            return Ok(None);
        }
        Self::behind_header(head, SEAL).map(Some)
    }

    /// Of what begins with a header of this format, and `head` with that.
    pub(super) fn behind_header(head: &'a [u8], format: u32) -> Result<Self, SealError> {
        let (header, behind) = head.split_first_chunk::<SIZE>().ok_or(SealError::Lengths)?;
        let (magic, numbers, reserved) = cut_header(header);
        let lengths = Lengths::read(&numbers, format)?;
        let bytes = behind.get(..lengths.total()? - SIZE).ok_or(SealError::Lengths)?;
        let covered = [&magic[..], &numbers[..12]].concat();
        lengths.split(bytes, &covered, reserved)
    }

    /// Bytes of the whole seal.
    pub(super) fn size(self) -> usize {
        self.manifest.len() + self.signature.len() + SIZE
    }

    /// The seal to put before a payload, or the front of a container.
    pub(super) fn with_header(self, format: u32) -> Option<Vec<u8>> {
        let mut numbers = self.numbers(format)?;
        let covered = [&HEADER_MAGIC[..], &numbers[..12]].concat();
        numbers[12..].copy_from_slice(&self.checksum(&covered).to_le_bytes());
        Some([&HEADER_MAGIC, &numbers[..], &[0; 8], self.manifest, self.signature].concat())
    }

    /// The seal to put behind a program.
    pub(super) fn with_footer(self) -> Option<Vec<u8>> {
        let mut numbers = self.numbers(SEAL)?;
        let checksum = self.checksum(&numbers[..12]);
        numbers[12..].copy_from_slice(&checksum.to_le_bytes());
        Some([self.manifest, self.signature, &numbers, &[0; 8], &FOOTER_MAGIC].concat())
    }

    /// Format and lengths; the place of the checksum is zero.
    fn numbers(self, format: u32) -> Option<[u8; 16]> {
        let mut numbers = [0; 16];
        numbers[..4].copy_from_slice(&format.to_le_bytes());
        let lengths = [self.manifest.len(), self.signature.len()];
        for (place, length) in numbers[4..12].chunks_exact_mut(4).zip(lengths) {
            place.copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        }
        Some(numbers)
    }

    pub(super) fn checksum(self, covered: &[u8]) -> u32 {
        let mut digest = CRC_32.digest();
        [self.manifest, self.signature, covered].into_iter().for_each(|bytes| digest.update(bytes));
        digest.finalize()
    }
}

/// Bytes of the header that `head` begins with, once its first [`SIZE`] bytes are there; an error
/// where nothing that begins like this is a seal.
pub(super) fn size_before(head: &[u8; SIZE], format: u32) -> Result<usize, SealError> {
    Lengths::read(&cut_header(head).1, format)?.total()
}

/// The format that a header names, once so much of it is there.
pub(super) fn format_of(head: &[u8]) -> Option<u32> {
    let number = head.get(HEADER_MAGIC.len()..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*number))
}

/// Numbers, reserved bytes and magic of a footer.
fn cut(footer: &[u8; SIZE]) -> ([u8; 16], [u8; 8], [u8; 8]) {
    let mut parts = ([0; 16], [0; 8], [0; 8]);
    parts.0.copy_from_slice(&footer[..16]);
    parts.1.copy_from_slice(&footer[16..24]);
    parts.2.copy_from_slice(&footer[24..]);
    parts
}

/// Magic, numbers and reserved bytes of a header.
fn cut_header(header: &[u8; SIZE]) -> ([u8; 8], [u8; 16], [u8; 8]) {
    let mut parts = ([0; 8], [0; 16], [0; 8]);
    parts.0.copy_from_slice(&header[..8]);
    parts.1.copy_from_slice(&header[8..24]);
    parts.2.copy_from_slice(&header[24..]);
    parts
}
