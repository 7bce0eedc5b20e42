//! How fast frames are found on one core, in megabytes (10^6 bytes) of line a second. The aim is 300 or more for each stream
//! without noise.
//!
//! Run with `cargo bench --bench frame`.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};
use uplift::channel::psdk::frame::{Address, CommandId, Frame, FrameCodec, LONGEST_PAYLOAD};

const STREAM: usize = 16 << 20;
const ROUNDS: usize = 9;
/// What a read from the port hands over at most.
const READ: usize = 64 << 10;

fn main() {
    println!("{:<44}{:>10}{:>12}", "stream", "MB/s", "frames/s");
    for payload in [11, 256 + 5, LONGEST_PAYLOAD] {
        report(&format!("frames with {payload} bytes of payload"), &frames(payload));
    }
    report("noise (random bytes)", &noise());
    report("frames with 261 bytes, one byte in 1000 bad", &damaged(frames(261)));
}

fn frames(payload: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut stream = BytesMut::new();
    while stream.len() < STREAM {
        let payload: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(payload).collect();
        let frame = Frame::request(Address(0x2A), Address(0x13), random.u16(..), CommandId::new(0, 0x2A), payload);
        if let Err(error) = FrameCodec::new().encode(frame, &mut stream) {
            eprintln!("{error}");
        }
    }
    stream.to_vec()
}

fn noise() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(2);
    std::iter::repeat_with(|| random.u8(..)).take(STREAM).collect()
}

fn damaged(mut stream: Vec<u8>) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..stream.len() / 1000 {
        let at = random.usize(..stream.len());
        stream[at] ^= 1 << random.u32(..8);
    }
    stream
}

fn report(name: &str, stream: &[u8]) {
    let mut runs: Vec<(Duration, usize)> = (0..ROUNDS).map(|_| decode(stream)).collect();
    runs.sort();
    let (time, frames) = runs[ROUNDS / 2];
    let seconds = time.as_secs_f64();
    println!("{name:<44}{:>10.0}{:>12.0}", stream.len() as f64 / 1e6 / seconds, frames as f64 / seconds);
}

/// Feeds the stream as a port would, into one buffer that is used again and again.
fn decode(stream: &[u8]) -> (Duration, usize) {
    let mut codec = FrameCodec::new();
    let mut buffer = BytesMut::with_capacity(2 * READ);
    let mut frames = 0;
    let start = Instant::now();
    for piece in stream.chunks(READ) {
        buffer.extend_from_slice(piece);
        while let Ok(Some(frame)) = codec.decode(&mut buffer) {
            frames += 1;
            std::hint::black_box::<Bytes>(frame.payload);
        }
    }
    (start.elapsed(), frames)
}
