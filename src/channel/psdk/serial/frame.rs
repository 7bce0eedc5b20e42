//! The frame of the payload link (DUML v1, docs/wire/payload-link.md section 1): bytes to
//! [`Frame`]s and back, and how to find a frame again in noise. It knows nothing of what a command
//! means or of who is linked. The codec knows no time: its caller says when the line has been
//! silent for [`IDLE_LIMIT`]; [`Reader`] does, with the time that it is given.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc::{Algorithm, Crc, Table};
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

mod reader;
#[cfg(test)]
mod tests;

pub use self::reader::Reader;

/// After so long without a byte, a frame that is still incomplete was no frame: call
/// [`FrameCodec::decode_idle`].
pub const IDLE_LIMIT: Duration = Duration::from_millis(50);
/// Bytes of a frame around its payload.
pub const OVERHEAD: usize = HEADER + CRC;
/// Longest frame, in bytes: the length field has ten bits.
pub const LONGEST_FRAME: usize = 1023;
/// Longest payload of a frame, in bytes.
pub const LONGEST_PAYLOAD: usize = LONGEST_FRAME - OVERHEAD;

const START: u8 = 0x55;
/// Start, length with version, and CRC-8: what tells a header from noise.
const PREFIX: usize = 4;
const HEADER: usize = 11;
const CRC: usize = 2;
const VERSION: u16 = 1;
const LENGTH_BITS: u16 = 10;

// The crate wants the initial value unreflected; the protocol's documents give the register's,
// which is reflected.
static CRC_8: Crc<u8> = Crc::<u8>::new(&Algorithm {
    width: 8,
    poly: 0x31,
    init: 0x77_u8.reverse_bits(),
    refin: true,
    refout: true,
    xorout: 0,
    check: 0,
    residue: 0,
});
// Sixteen bytes a step: the CRC-16 is most of the work of receiving.
static CRC_16: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&Algorithm {
    width: 16,
    poly: 0x1021,
    init: 0x3692_u16.reverse_bits(),
    refin: true,
    refout: true,
    xorout: 0,
    check: 0,
    residue: 0,
});

/// Who sends or receives: bits 0-4 the kind of device, bits 5-7 its index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub u8);

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({:#04x})", self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02X}", self.0)
    }
}

/// What is asked for: command set and command id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandId {
    /// Command set.
    pub set: u8,
    /// Command within the set.
    pub id: u8,
}

impl CommandId {
    /// The command `set/id`.
    #[must_use]
    pub const fn new(set: u8, id: u8) -> Self {
        Self { set, id }
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CommandId({self})")
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02X}/{:02X}", self.set, self.id)
    }
}

/// When the requester wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ack {
    /// Before the command is executed.
    BeforeExecution,
    /// After it.
    AfterExecution,
}

/// What a frame is, from its flag byte. Encoding gives back what was read, but for the ack bits of
/// an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sent unasked, wants no answer.
    Push,
    /// Wants an answer.
    Request(Ack),
    /// Is the answer to a request. The ack bits mean nothing here: some aircraft set them (`A0`,
    /// `C0`), and they are not kept.
    Response,
    /// Encrypted, or with bits that have no known meaning: to be ignored.
    Unusual(UnusualFlags),
}

/// A flag byte that is none of the plain kinds; only [`Kind::from_flags`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnusualFlags(u8);

impl UnusualFlags {
    /// Whether the payload is encrypted.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        self.0 & 0x07 != 0
    }
}

impl Kind {
    /// Reads the flag byte.
    #[must_use]
    pub const fn from_flags(flags: u8) -> Self {
        match flags {
            0x00 => Self::Push,
            0x20 => Self::Request(Ack::BeforeExecution),
            0x40 => Self::Request(Ack::AfterExecution),
            0x80 | 0xA0 | 0xC0 | 0xE0 => Self::Response,
            other => Self::Unusual(UnusualFlags(other)),
        }
    }

    /// The flag byte.
    #[must_use]
    pub const fn flags(self) -> u8 {
        match self {
            Self::Push => 0x00,
            Self::Request(Ack::BeforeExecution) => 0x20,
            Self::Request(Ack::AfterExecution) => 0x40,
            Self::Response => 0x80,
            Self::Unusual(UnusualFlags(flags)) => flags,
        }
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Who sends.
    pub sender: Address,
    /// Who is meant.
    pub receiver: Address,
    /// The sender's count of requests; a response echoes it.
    pub sequence: u16,
    /// Push, request or response.
    pub kind: Kind,
    /// What is asked for.
    pub command: CommandId,
    /// At most [`LONGEST_PAYLOAD`] bytes, or the frame can't be encoded.
    pub payload: Bytes,
}

impl Frame {
    /// A request that wants its answer after execution.
    #[must_use]
    pub fn request(
        sender: Address,
        receiver: Address,
        sequence: u16,
        command: CommandId,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self {
            sender,
            receiver,
            sequence,
            kind: Kind::Request(Ack::AfterExecution),
            command,
            payload: payload.into(),
        }
    }

    /// A push, which nobody answers.
    #[must_use]
    pub fn push(
        sender: Address,
        receiver: Address,
        sequence: u16,
        command: CommandId,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self { sender, receiver, sequence, kind: Kind::Push, command, payload: payload.into() }
    }

    /// The answer to this request: addresses swapped, sequence number and command echoed.
    #[must_use]
    pub fn response(&self, payload: impl Into<Bytes>) -> Self {
        Self {
            sender: self.receiver,
            receiver: self.sender,
            sequence: self.sequence,
            kind: Kind::Response,
            command: self.command,
            payload: payload.into(),
        }
    }

    /// Length on the line, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        OVERHEAD + self.payload.len()
    }
}

/// A frame that can't be sent.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The payload does not fit.
    #[error("a payload of {0} bytes does not fit into a frame, which takes {LONGEST_PAYLOAD}")]
    PayloadTooLong(usize),
    /// The line failed; the codec itself never says so, but tokio's `Framed` needs a place for it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Finds frames in bytes, and writes them.
#[derive(Debug, Clone, Default)]
pub struct FrameCodec {
    dropped: u64,
}

/// What the bytes at the start of the buffer are.
enum Head {
    /// No frame starts here.
    Noise,
    /// A frame may start here; more bytes will tell.
    Partial,
    /// A good frame: its header, and its length with that.
    Frame([u8; HEADER], usize),
}

impl FrameCodec {
    /// A codec that has seen nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { dropped: 0 }
    }

    /// Bytes thrown away so far because they belonged to no frame: how noisy the line is.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// To be called when no byte has come for [`IDLE_LIMIT`]: what waits for its rest was no frame,
    /// so one byte is dropped and the search goes on behind it. Everything that still waits was
    /// silent just as long and is given up alike, so the buffer is empty when this returns `None`.
    /// Call it until it does.
    pub fn decode_idle(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        loop {
            if let Some(frame) = self.search(buffer) {
                return Some(frame);
            }
            if buffer.is_empty() {
                return None;
            }
            self.skip(buffer, 1);
        }
    }

    /// The length that the header at the start of `buffer` promises, where one waits for its rest.
    fn promised(buffer: &BytesMut) -> Option<usize> {
        let [_, low, high, _] = *buffer.first_chunk::<PREFIX>()?;
        Some(usize::from(u16::from_le_bytes([low, high]) & ((1 << LENGTH_BITS) - 1)))
    }

    /// Takes the next frame out of `buffer`; leaves there only what may become one.
    fn search(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        loop {
            // On a clean line the next frame begins right here.
            if buffer.first() != Some(&START) {
                let noise = memchr::memchr(START, buffer).unwrap_or(buffer.len());
                self.skip(buffer, noise);
            }
            match inspect(buffer) {
                Head::Frame(header, length) => return Some(take(buffer, header, length)),
                Head::Partial => return None,
                Head::Noise => self.skip(buffer, 1),
            }
        }
    }

    fn skip(&mut self, buffer: &mut BytesMut, count: usize) {
        buffer.advance(count);
        self.dropped = self.dropped.saturating_add(count as u64);
    }
}

/// Judges the bytes at the start of `bytes`, which is empty or begins with the start byte.
fn inspect(bytes: &[u8]) -> Head {
    let Some(&[start, low, high, crc]) = bytes.first_chunk::<PREFIX>() else {
        return Head::Partial;
    };
    let word = u16::from_le_bytes([low, high]);
    let length = usize::from(word & ((1 << LENGTH_BITS) - 1));
    if word >> LENGTH_BITS != VERSION
        || length < OVERHEAD
        || CRC_8.checksum(&[start, low, high]) != crc
    {
        return Head::Noise;
    }
    let Some(frame) = bytes.get(..length) else { return Head::Partial };
    match (frame.first_chunk(), frame.split_last_chunk()) {
        (Some(header), Some((content, crc)))
            if CRC_16.checksum(content) == u16::from_le_bytes(*crc) =>
        {
            Head::Frame(*header, length)
        }
        _ => Head::Noise,
    }
}

/// Takes a frame that was found good. Its payload shares the buffer's memory.
fn take(buffer: &mut BytesMut, header: [u8; HEADER], length: usize) -> Frame {
    buffer.advance(HEADER);
    let payload = buffer.split_to(length - OVERHEAD).freeze();
    buffer.advance(CRC);
    let [_, _, _, _, sender, receiver, low, high, flags, set, id] = header;
    Frame {
        sender: Address(sender),
        receiver: Address(receiver),
        sequence: u16::from_le_bytes([low, high]),
        kind: Kind::from_flags(flags),
        command: CommandId { set, id },
        payload,
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    /// Never fails: what is no frame is noise and is dropped.
    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        Ok(self.search(buffer))
    }

    /// No more bytes will come, so nothing that waits can become a frame.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        Ok(self.decode_idle(buffer))
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, buffer: &mut BytesMut) -> Result<(), FrameError> {
        self.encode(&frame, buffer)
    }
}

impl Encoder<&Frame> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: &Frame, buffer: &mut BytesMut) -> Result<(), FrameError> {
        let length = frame.encoded_len();
        let short = u16::try_from(length).ok().filter(|_| length <= LONGEST_FRAME);
        let word =
            short.ok_or(FrameError::PayloadTooLong(frame.payload.len()))? | VERSION << LENGTH_BITS;
        let [low, high] = word.to_le_bytes();
        let start = buffer.len();
        buffer.reserve(length);
        buffer.put_slice(&[START, low, high, CRC_8.checksum(&[START, low, high])]);
        buffer.put_slice(&[frame.sender.0, frame.receiver.0]);
        buffer.put_u16_le(frame.sequence);
        buffer.put_slice(&[frame.kind.flags(), frame.command.set, frame.command.id]);
        buffer.put_slice(&frame.payload);
        buffer.put_u16_le(CRC_16.checksum(&buffer[start..]));
        Ok(())
    }
}
