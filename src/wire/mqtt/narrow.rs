//! A broker's bytes with messages that are too large made small: their content is passed over while it
//! comes, so that they cost neither memory nor the connection. A message that the broker has kept would
//! come again with each subscription, and nothing would ever come past it.
//!
//! Knows how packets of MQTT begin, and nothing of what they mean.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a read.
const READ: usize = 4 << 10;
/// Of a packet's first byte.
const PUBLISH: u8 = 3;
/// Longest length of a packet, in bytes.
const LONGEST: usize = 4;

/// A stream whose messages have at most `largest` bytes behind their packet's head. Larger ones keep
/// topic and number, so that they are acknowledged, and come empty.
pub(super) struct Narrow<S> {
    stream: S,
    gate: Gate,
}

/// What has come, and how far it is understood.
struct Gate {
    largest: usize,
    bytes: BytesMut,
    /// Bytes that go on as they are.
    pass: usize,
    /// Bytes that nobody wants; none is left of what goes on before them.
    skip: usize,
}

/// How a packet begins.
struct Head {
    first: u8,
    /// Bytes of the head.
    size: usize,
    /// Bytes behind it.
    rest: usize,
}

impl<S> Narrow<S> {
    pub(super) fn new(stream: S, largest: usize) -> Self {
        Self { stream, gate: Gate::new(largest) }
    }
}

impl Gate {
    fn new(largest: usize) -> Self {
        Self { largest, bytes: BytesMut::new(), pass: 0, skip: 0 }
    }

    /// How many of the bytes may go on now; none where more must come first.
    fn open(&mut self) -> usize {
        loop {
            let passing = self.pass.min(self.bytes.len());
            if passing > 0 {
                return passing;
            }
            let skipped = self.skip.min(self.bytes.len());
            self.bytes.advance(skipped);
            self.skip -= skipped;
            if self.pass > 0 || self.skip > 0 || self.begin().is_none() {
                return 0;
            }
        }
    }

    /// Looks at a packet's beginning; none where it is not there as far as it is needed.
    fn begin(&mut self) -> Option<()> {
        let Some(head) = Head::read(&self.bytes)? else {
            // Not MQTT: whoever reads finds that out.
            self.pass = usize::MAX;
            return Some(());
        };
        let is_too_large = head.first >> 4 == PUBLISH && head.rest > self.largest;
        let kept = if is_too_large { head.kept(&self.bytes)? } else { head.rest };
        if kept == head.rest || kept > self.largest {
            self.pass = head.size + head.rest;
            return Some(());
        }
        tracing::warn!(
            "a message of {} bytes came from the broker, which is more than `largest_message` allows: its content is passed over",
            head.rest
        );
        self.skip = head.rest - kept;
        self.pass = head.shorten(&mut self.bytes, kept);
        Some(())
    }

    fn take(&mut self, into: &mut ReadBuf<'_>) {
        let size = self.open().min(into.remaining());
        into.put_slice(&self.bytes[..size]);
        self.bytes.advance(size);
        self.pass -= size;
    }
}

impl Head {
    /// None where more must come first; none within where it is none of MQTT.
    fn read(bytes: &[u8]) -> Option<Option<Self>> {
        let (first, behind) = bytes.split_first()?;
        let mut rest = 0;
        for (place, byte) in behind.iter().take(LONGEST).enumerate() {
            rest |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(Some(Self { first: *first, size: place + 2, rest }));
            }
        }
        (behind.len() >= LONGEST).then_some(None)
    }

    /// Bytes of a message before its content: topic, and number where it has one.
    fn kept(&self, bytes: &[u8]) -> Option<usize> {
        let length = bytes.get(self.size..self.size + 2)?;
        let topic = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let number = if self.first & 0b110 == 0 { 0 } else { 2 };
        let kept = (2 + topic + number).min(self.rest);
        (bytes.len() >= self.size + kept).then_some(kept)
    }

    /// Writes this head for a packet that is shorter in its place; the size of that packet.
    fn shorten(&self, bytes: &mut BytesMut, rest: usize) -> usize {
        let mut head = vec![self.first];
        let mut left = rest;
        while left >= 0x80 {
            head.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        head.push(left as u8);
        // It has no more bytes than the one that said more.
        let from = self.size - head.len();
        bytes[from..self.size].copy_from_slice(&head);
        bytes.advance(from);
        head.len() + rest
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Narrow<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, gate } = &mut *self;
        while gate.open() == 0 {
            let mut read = [0; READ];
            let mut read = ReadBuf::new(&mut read);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            gate.bytes.extend_from_slice(read.filled());
        }
        gate.take(into);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Narrow<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LARGEST: usize = 200;

    /// What comes out of these bytes, which come in pieces, and how many were held at most.
    fn narrowed(bytes: &[u8], piece: usize) -> (Vec<u8>, usize) {
        let (mut gate, mut out, mut held) = (Gate::new(LARGEST), Vec::new(), 0);
        for piece in bytes.chunks(piece) {
            gate.bytes.extend_from_slice(piece);
            held = held.max(gate.bytes.len());
            while gate.open() > 0 {
                let mut place = [0; 7];
                let mut into = ReadBuf::new(&mut place);
                gate.take(&mut into);
                out.extend_from_slice(into.filled());
            }
        }
        (out, held)
    }

    fn packet(first: u8, body: &[u8]) -> Vec<u8> {
        let mut head = BytesMut::from(&[0; 6][..]);
        let size = Head { first, size: 6, rest: usize::MAX }.shorten(&mut head, body.len());
        [&head[..size - body.len()], body].concat()
    }

    /// A message of topic `abc`, with the number 0x0102 unless its flags say that it has none.
    fn message(first: u8, content: usize) -> Vec<u8> {
        let number: &[u8] = if first & 0b110 == 0 { &[] } else { &[1, 2] };
        packet(first, &[&[0, 3, b'a', b'b', b'c'], number, &vec![b'x'; content]].concat())
    }

    #[test]
    fn a_message_that_is_too_large_comes_empty_and_the_next_one_whole() {
        for first in [0x30, 0x31, 0x32, 0x3b, 0x34] {
            let (fits, is_too_large) = (message(first, 190), message(first, 1 << 20));
            let bytes = [&fits[..], &is_too_large, &is_too_large, &fits].concat();
            let empty = message(first, 0);
            for piece in [1, 2, 3, 5, 4096] {
                let (out, held) = narrowed(&bytes, piece);
                assert_eq!(out, [&fits[..], &empty, &empty, &fits].concat(), "{first:x} {piece}");
                assert!(held < piece + 20);
            }
        }
    }

    #[test]
    fn what_is_no_message_is_left_as_it_is() {
        let answer = packet(0x90, &[0; 300]);
        let longer = packet(0x32, &[&[1, 0][..], &[b'a'; 300]].concat());
        let no_topic = packet(0x30, &[&[0xff, 0xff][..], &[0; 300]].concat());
        let no_length = [0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0x30, 0x80];
        for bytes in [&answer[..], &longer, &no_topic, &no_length] {
            assert_eq!(narrowed(bytes, 3).0, bytes);
        }
    }

    proptest! {
        /// However it is cut, whatever it is, and nothing is added.
        #[test]
        fn any_bytes_are_understood_the_same_way(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            piece in 1_usize..50,
        ) {
            let (out, _) = narrowed(&bytes, piece);
            prop_assert_eq!(&out, &narrowed(&bytes, 5000).0);
            prop_assert!(out.len() <= bytes.len());
        }
    }
}
