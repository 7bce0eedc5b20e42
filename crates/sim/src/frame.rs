//! Frames of the payload link, written from docs/wire/payload-link.md section 1: bytes from a
//! frame, and frames from the bytes that a line brings, noise and all. Knows nothing of what a
//! command means.

mod inbox;

use std::fmt;

use serde::{Serialize, Serializer};

pub(crate) use self::inbox::Inbox;

/// Longest frame in bytes.
pub(crate) const LONGEST_FRAME: usize = 1023;
/// Longest payload of a frame in bytes.
pub(crate) const LONGEST_PAYLOAD: usize = LONGEST_FRAME - SHORTEST_FRAME;

/// A frame without a payload: 11 bytes before it, 2 behind it.
const SHORTEST_FRAME: usize = BEFORE_PAYLOAD + 2;
const BEFORE_PAYLOAD: usize = 11;
const START: u8 = 0x55;
/// The protocol's version, above the ten bits of the length.
const VERSION: usize = 1;
const LENGTH_BITS: u32 = 10;

/// A device on the link by its address, in hexadecimal as everybody writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device(pub u8);

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02X}", self.0)
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A command: its set, and its id within that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command(pub u8, pub u8);

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02X}/{:02X}", self.0, self.1)
    }
}

/// What the flags of a frame say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Push,
    /// Wants an answer.
    Request,
    Response,
    /// Encrypted: nobody here can read it.
    Encrypted,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) sender: Device,
    pub(crate) receiver: Device,
    pub(crate) sequence: u16,
    pub(crate) kind: Kind,
    pub(crate) command: Command,
    pub(crate) payload: Vec<u8>,
}

/// A payload that fits into no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes do not fit into a frame of the link, which takes {LONGEST_PAYLOAD}")]
pub struct TooLong(usize);

impl Kind {
    const fn read(flags: u8) -> Self {
        match flags {
            _ if flags & 0x07 != 0 => Self::Encrypted,
            _ if flags & 0x80 != 0 => Self::Response,
            _ if flags & 0x60 != 0 => Self::Request,
            _ => Self::Push,
        }
    }

    const fn flags(self) -> u8 {
        match self {
            Self::Push => 0x00,
            Self::Request => 0x40,
            Self::Response => 0x80,
            Self::Encrypted => 0x01,
        }
    }
}

impl Frame {
    /// The answer to this request.
    pub(crate) fn answer(&self, payload: Vec<u8>) -> Self {
        Self {
            sender: self.receiver,
            receiver: self.sender,
            kind: Kind::Response,
            payload,
            ..*self
        }
    }

    /// Its length on the line in bytes.
    pub(crate) const fn length(&self) -> usize {
        SHORTEST_FRAME + self.payload.len()
    }

    /// As it goes over the line.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, TooLong> {
        let length = self.length();
        if length > LONGEST_FRAME {
            return Err(TooLong(self.payload.len()));
        }
        let [low, high, ..] = (VERSION << LENGTH_BITS | length).to_le_bytes();
        let mut bytes = vec![START, low, high];
        bytes.push(crc_8(&bytes));
        bytes.extend([self.sender.0, self.receiver.0]);
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend([self.kind.flags(), self.command.0, self.command.1]);
        bytes.extend(&self.payload);
        let crc = crc_16(&bytes);
        bytes.extend(crc.to_le_bytes());
        Ok(bytes)
    }

    /// The frame that `bytes` are, from the first to the last, when both checksums hold.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk()?;
        if promised_length(bytes.get(..4)?) != Some(bytes.len())
            || crc_16(content) != u16::from_le_bytes(*crc)
        {
            return None;
        }
        let (&[_, _, _, _, sender, receiver, low, high, flags, set, id], payload) =
            content.split_first_chunk::<BEFORE_PAYLOAD>()?;
        Some(Self {
            sender: Device(sender),
            receiver: Device(receiver),
            sequence: u16::from_le_bytes([low, high]),
            kind: Kind::read(flags),
            command: Command(set, id),
            payload: payload.to_vec(),
        })
    }
}

/// The length of the frame that begins with these four bytes, if one can.
fn promised_length(head: &[u8]) -> Option<usize> {
    let &[START, low, high, crc] = head else { return None };
    let word = usize::from(u16::from_le_bytes([low, high]));
    let (version, length) = (word >> LENGTH_BITS, word % (1 << LENGTH_BITS));
    let is_right =
        version == VERSION && length >= SHORTEST_FRAME && crc_8(&[START, low, high]) == crc;
    is_right.then_some(length)
}

// Bit by bit, as the document has them: the daemon's come from a library, and a mistake in its
// parameters must show.

fn crc_8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0x77, |crc, byte| {
        (0..u8::BITS).fold(crc ^ byte, |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x8C } else { 0 })
    })
}

fn crc_16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0x3692, |crc, byte| {
        (0..u8::BITS)
            .fold(crc ^ u16::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x8408 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        hexadecimal.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    /// The examples of docs/wire/payload-link.md, which were seen on a line.
    #[test]
    fn frames_that_were_seen_are_read_and_written() {
        let probe = Frame {
            sender: Device(0xE5),
            receiver: Device(0x65),
            sequence: 0,
            kind: Kind::Request,
            command: Command(0x03, 0xFD),
            payload: Vec::new(),
        };
        let push = Frame {
            sender: Device(0x13),
            receiver: Device(0xED),
            sequence: 0xC80D,
            kind: Kind::Push,
            command: Command(0x00, 0x42),
            payload: [&[3, 42][..], &[0; 9]].concat(),
        };
        for (text, frame) in [
            ("55 0d 04 33 e5 65 00 00 40 03 fd 9b 85", probe.clone()),
            ("55 0e 04 66 65 e5 00 00 80 03 fd 3c 4a 32", probe.answer(vec![0x3C])),
            ("55 18 04 20 13 ed 0d c8 00 00 42 03 2a 00 00 00 00 00 00 00 00 00 40 77", push),
        ] {
            assert_eq!(frame.to_bytes().unwrap(), bytes(text));
            assert_eq!(Frame::read(&bytes(text)), Some(frame));
        }
    }

    #[test]
    fn a_frame_with_any_bit_turned_over_is_none() {
        let right = bytes("55 0e 04 66 65 e5 00 00 80 03 fd 3c 4a 32");
        for bit in 0..right.len() * 8 {
            let mut wrong = right.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::read(&wrong), None, "bit {bit}");
        }
        for length in 0..right.len() {
            assert_eq!(Frame::read(&right[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_payload_has_its_limit() {
        let frame = |length| Frame {
            sender: Device(0x2A),
            receiver: Device(0x13),
            sequence: 1,
            kind: Kind::Request,
            command: Command(0x00, 0x2A),
            payload: vec![0xA5; length],
        };
        let longest = frame(LONGEST_PAYLOAD);
        assert_eq!(Frame::read(&longest.to_bytes().unwrap()), Some(longest));
        assert_eq!(frame(1011).to_bytes(), Err(TooLong(1011)));
    }

    #[test]
    fn flags_tell_the_kind() {
        for (flags, kind) in [
            (0x00, Kind::Push),
            (0x20, Kind::Request),
            (0x40, Kind::Request),
            (0x80, Kind::Response),
            (0xC0, Kind::Response),
            (0x41, Kind::Encrypted),
        ] {
            assert_eq!(Kind::read(flags), kind, "{flags:02X}");
        }
    }
}
