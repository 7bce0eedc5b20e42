//! Bytes behind their length: four bytes, the highest first, then so many bytes. A length of 0 says
//! that all is there; a connection that closes before it broke off.

use std::io::{self, Read, Write};

/// Longest piece in bytes.
pub(super) const LONGEST_PIECE: usize = 256 << 10;

/// Bytes of the length.
const LENGTH: usize = 4;

/// The next piece, in place of what is in the buffer; false behind the last one.
pub(super) fn read(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; LENGTH];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST_PIECE {
        let text = format!("a piece of {length} bytes; the limit is {LONGEST_PIECE}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    buffer.resize(length, 0);
    from.read_exact(buffer)?;
    Ok(length > 0)
}

/// Sends bytes, in as many pieces as they need.
pub(super) fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    bytes.chunks(LONGEST_PIECE).try_for_each(|piece| {
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        to.write_all(&length.to_be_bytes())?;
        to.write_all(piece)
    })
}

/// Says that all is there.
pub(super) fn end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[0; LENGTH])
}

/// For the fuzzer: takes bytes as a client's pieces. Panics where a promise is broken.
pub(super) fn fuzz(mut bytes: &[u8]) {
    let (mut buffer, mut taken) = (Vec::new(), Vec::new());
    let whole = bytes;
    while let Ok(true) = read(&mut bytes, &mut buffer) {
        assert!(buffer.len() <= LONGEST_PIECE, "{}", buffer.len());
        taken.extend_from_slice(&buffer);
    }
    assert!(taken.len() <= whole.len());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_arrive_as_they_were_sent() {
        let bytes: Vec<u8> = (0..LONGEST_PIECE + 7).map(|i| i.to_le_bytes()[0]).collect();
        let mut sent = Vec::new();
        write(&mut sent, &bytes).unwrap();
        end(&mut sent).unwrap();
        let (mut from, mut buffer, mut taken) = (&sent[..], Vec::new(), Vec::new());
        while read(&mut from, &mut buffer).unwrap() {
            taken.extend_from_slice(&buffer);
        }
        assert!(taken == bytes && from.is_empty());
    }

    #[test]
    fn what_breaks_off_or_is_too_long_is_an_error() {
        for (bytes, kind) in [
            (&[][..], io::ErrorKind::UnexpectedEof),
            (&[0, 0, 0], io::ErrorKind::UnexpectedEof),
            (&[0, 0, 0, 2, 7], io::ErrorKind::UnexpectedEof),
            (&[0, 4, 0, 1], io::ErrorKind::InvalidData),
            (&[255; 9], io::ErrorKind::InvalidData),
        ] {
            let mut from = bytes;
            assert_eq!(read(&mut from, &mut Vec::new()).unwrap_err().kind(), kind, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&bytes);
        }
    }
}
