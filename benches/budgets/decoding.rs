//! How fast frames are found on one core, in megabytes (10^6 bytes) of line a second, and containers
//! decoded, in those of program.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use nix::time::{ClockId, clock_gettime};
use tokio_util::codec::{Decoder, Encoder};
use uplift::channel::psdk::serial::frame::{
    Address, CommandId, Frame, FrameCodec, LONGEST_PAYLOAD,
};
use uplift::package::codec;

use super::payload::shipped;
use super::statistics::median_time;
use super::table::Row;

const STREAM: usize = 16 << 20;
const RUNS: usize = 9;
/// What a read from the port hands over at most.
const READ: usize = 64 << 10;
const BAR: f64 = 300.0;
const BAR_OF_CONTAINERS: f64 = 250.0;
/// As `uplift pack` has it.
const WINDOW: u64 = 4 << 20;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for payload in [11, 256 + 5, LONGEST_PAYLOAD] {
        let speed = speed(&frames(payload)?)?;
        rows.push(Row::at_least(
            format!("decoding frames with {payload} bytes of payload"),
            speed,
            BAR,
            "MB/s",
        ));
    }
    let of_containers = "decoding a container of the shipped binary, of program in processor time";
    rows.push(Row::at_least(of_containers, containers()?, BAR_OF_CONTAINERS, "MB/s"));
    rows.push(Row::note("decoding noise (random bytes)", speed(&noise())?, "MB/s"));
    rows.push(Row::note(
        "decoding frames with 261 bytes, one byte in 1000 bad",
        speed(&damaged(frames(261)?))?,
        "MB/s",
    ));
    Ok(rows)
}

fn containers() -> Result<f64> {
    let program = std::fs::read(shipped()?)?;
    let (size, mut stream) = (program.len() as u64, Vec::new());
    codec::encode(WINDOW, size, 1, &program[..], &mut stream, |_| ())?;
    let seconds = median_time(RUNS, || {
        let start = processor_time()?;
        codec::decode(WINDOW, size, &stream[..], std::io::sink())?;
        Ok(processor_time()? - start)
    })?;
    Ok(size as f64 / 1e6 / seconds)
}

/// What this thread, which decodes, has had of a processor.
fn processor_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn frames(payload: usize) -> Result<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut stream = BytesMut::new();
    while stream.len() < STREAM {
        let payload: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(payload).collect();
        let frame = Frame::request(
            Address(0x2A),
            Address(0x13),
            random.u16(..),
            CommandId::new(0, 0x2A),
            payload,
        );
        FrameCodec::new().encode(frame, &mut stream)?;
    }
    Ok(stream.to_vec())
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

fn speed(stream: &[u8]) -> Result<f64> {
    let seconds = median_time(RUNS, || Ok(decode(stream)))?;
    Ok(stream.len() as f64 / 1e6 / seconds)
}

/// Feeds the stream as a port would, into one buffer that is used again and again.
fn decode(stream: &[u8]) -> Duration {
    let mut codec = FrameCodec::new();
    let mut buffer = BytesMut::with_capacity(2 * READ);
    let start = Instant::now();
    for piece in stream.chunks(READ) {
        buffer.extend_from_slice(piece);
        while let Ok(Some(frame)) = codec.decode(&mut buffer) {
            std::hint::black_box::<Bytes>(frame.payload);
        }
    }
    start.elapsed()
}
