//! Any bytes on the line, cut at the place that the first byte tells: the frame codec must find the
//! same frames however the stream is cut, must find them again in what it writes, and must leave
//! nothing behind after silence. The reader finds what the codec does.
#![no_main]

use std::time::Instant;

use bytes::{BufMut, BytesMut};
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::{Decoder, Encoder};
use uplift::channel::psdk::serial::frame::{Frame, FrameCodec, IDLE_LIMIT, Reader};

fuzz_target!(|input: &[u8]| {
    let [cut, bytes @ ..] = input else { return };
    let whole = decode(&[bytes]);
    let (before, behind) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    assert_eq!(whole, decode(&[before, behind]));
    assert_eq!(whole, read(&[before, behind]));
    let mut written = BytesMut::new();
    for frame in &whole {
        FrameCodec::new().encode(frame, &mut written).expect("what was read can be written");
    }
    assert_eq!(whole, decode(&[&written]));
});

fn decode(pieces: &[&[u8]]) -> Vec<Frame> {
    let (mut codec, mut buffer, mut frames) = (FrameCodec::new(), BytesMut::new(), vec![]);
    for piece in pieces {
        buffer.put_slice(piece);
        while let Ok(Some(frame)) = codec.decode(&mut buffer) {
            frames.push(frame);
        }
    }
    frames.extend(std::iter::from_fn(|| codec.decode_idle(&mut buffer)));
    assert!(buffer.is_empty());
    frames
}

/// What comes within a moment, and silence behind it.
fn read(pieces: &[&[u8]]) -> Vec<Frame> {
    let (mut reader, now, mut frames) = (Reader::new(115_200), Instant::now(), vec![]);
    for piece in pieces {
        reader.buffer().put_slice(piece);
        reader.came(piece.len(), now);
        frames.extend(std::iter::from_fn(|| reader.frame()));
    }
    reader.give_up(now + IDLE_LIMIT);
    frames.extend(std::iter::from_fn(|| reader.frame()));
    assert_eq!(reader.due(), None);
    frames
}
