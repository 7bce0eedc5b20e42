//! A file in pieces whose sums are compared, as a server of ThingsPanel hands them out: `X-CRC16` is
//! the sum of the bytes of one answer. It finds what was damaged on its way, and proves nothing.

use ureq::http::{HeaderMap, HeaderValue};

/// Sum of a piece: what the server uses unless it is asked for another one.
const SUM: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_USB);
/// Header of the sum: four digits.
const HEADER: &str = "x-crc16";
/// Bytes of a piece. A server that makes sums holds a whole answer in memory.
pub(super) const LENGTH: u64 = 1 << 20;

/// How a file is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// All of it, or all of the rest.
    #[default]
    None,
    /// Piece after piece, with their sums compared. A server need not prove that the file of the next
    /// one is the same: its size must be, and what the file is, its digest and its seal say.
    Summed,
}

/// The range of the piece behind `offset` bytes. An end behind the file's is an error for these
/// servers, so that the first byte alone is asked for where its size is not known.
pub(super) fn range(offset: u64, total: Option<u64>) -> Option<HeaderValue> {
    let last = match total {
        Some(total) => total.min(offset.saturating_add(LENGTH)).checked_sub(1)?,
        None => offset,
    };
    HeaderValue::try_from(format!("bytes={offset}-{last}")).ok()
}

/// Whether bytes are those that a server has told the sum of, where it has told one. What is no sum
/// is a wrong one.
pub(super) fn is_whole(bytes: &[u8], headers: &HeaderMap) -> bool {
    let Some(told) = headers.get(HEADER) else { return true };
    let sum = format!("{:04x}", SUM.checksum(bytes));
    told.as_bytes().eq_ignore_ascii_case(sum.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TP-17.
    #[test]
    fn a_sum_is_that_of_the_platform() {
        let example: Vec<u8> = (0..1024).map(|number| (number % 256) as u8).collect();
        for (bytes, text, is_right) in [
            (&b"123456789"[..], "b4c8", true),
            (b"123456789", "B4C8", true),
            (&example, "1301", true),
            (&example, "1302", false),
            (&example, "130", false),
            (&example, "+1301", false),
            (&example, "", false),
        ] {
            let headers = [(HEADER.parse().unwrap(), text.parse().unwrap())].into_iter().collect();
            assert_eq!(is_whole(bytes, &headers), is_right, "{text}");
        }
        assert!(is_whole(b"123456789", &HeaderMap::new()));
    }

    /// TP-17: never an end behind the last byte.
    #[test]
    fn a_piece_ends_with_the_file() {
        for (offset, total, asked) in [
            (0, None, Some("bytes=0-0")),
            (1, Some(7), Some("bytes=1-6")),
            (0, Some(LENGTH), Some("bytes=0-1048575")),
            (LENGTH, Some(LENGTH + 1), Some("bytes=1048576-1048576")),
            (1, Some(LENGTH + 1), Some("bytes=1-1048576")),
        ] {
            let range = range(offset, total);
            assert_eq!(range.as_ref().map(|range| range.to_str().unwrap()), asked);
        }
    }
}
