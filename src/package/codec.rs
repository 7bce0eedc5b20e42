//! The codecs of a container's streams.
//!
//! [`decode`] is for a process without rights alone (`uplift decode`), never for the daemon: what it
//! is given may be hostile, and the library is written in C. [`encode`] is for `uplift pack`. Knows
//! nothing of containers.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::str::FromStr;

use uplift_delta::DeltaError;
use zstd::stream::raw::{
    CParameter, DParameter, Decoder, Encoder, InBuffer, Operation as _, OutBuffer,
};

use crate::disk;

/// Bytes that are read and written at once.
const BUFFER: usize = 128 * 1024;
/// Level of zstd: the highest one without those that need more memory than a window has.
const LEVEL: i32 = 19;

/// What a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// One frame of zstd (RFC 8878), without a dictionary.
    Zstd,
    /// What changes an old program, as docs/wire/delta.md says.
    Delta,
}

/// The name of a codec that is not known here.
#[derive(Debug, thiserror::Error)]
#[error("its stream is {0:?}, which this version of uplift does not know")]
pub struct UnknownCodec(String);

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        match name {
            "zstd" => Ok(Self::Zstd),
            "delta" => Ok(Self::Delta),
            other => Err(UnknownCodec(other.to_owned())),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zstd => "zstd",
            Self::Delta => "delta",
        })
    }
}

/// Why a stream is not one of what it is said to be.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum DecodeError {
    #[error("it can't be decoded")]
    Wrong(#[source] io::Error),
    #[error("it is wrong")]
    Delta(#[source] DeltaError),
    #[error("it ends before its end")]
    CutOff,
    #[error("something stands behind its end")]
    Behind,
    #[error("more than {0} bytes come of it")]
    TooLong(u64),
    #[error("{found} bytes come of it instead of {expected}")]
    TooShort { found: u64, expected: u64 },
    #[error("its bytes can't be passed on")]
    Io(#[from] io::Error),
}

impl From<DeltaError> for DecodeError {
    fn from(error: DeltaError) -> Self {
        match error {
            DeltaError::CutOff => Self::CutOff,
            DeltaError::Behind => Self::Behind,
            DeltaError::Input(error) | DeltaError::Base(error) | DeltaError::Output(error) => {
                Self::Io(error)
            }
            error => Self::Delta(error),
        }
    }
}

/// Applies a delta to an old program, of which the first `old_size` bytes are read: exactly `size`
/// bytes, with no more memory than a window of `window` bytes and some tables. Not one byte above
/// `size` is written.
pub fn apply(
    (old, old_size): (&File, u64),
    window: u64,
    size: u64,
    input: impl Read,
    output: impl Write,
) -> Result<(), DecodeError> {
    Ok(uplift_delta::apply(old, old_size, size, window, input, output)?)
}

/// Decodes one stream of zstd: exactly `size` bytes, with no more memory than a window of `window`
/// bytes and some buffers. Not one byte above `size` is written.
pub fn decode(
    window: u64,
    size: u64,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), DecodeError> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(window.max(1).ilog2()))?;
    let (mut compressed, mut decoded) = (vec![0; BUFFER], vec![0; BUFFER]);
    let (mut written, mut is_over) = (0u64, false);
    loop {
        let n = disk::read(&mut input, &mut compressed)?;
        match (n, is_over) {
            (0, true) => break,
            (0, false) => return Err(DecodeError::CutOff),
            (_, true) => return Err(DecodeError::Behind),
            (_, false) => {}
        }
        let mut from = InBuffer::around(&compressed[..n]);
        loop {
            let mut to = OutBuffer::around(&mut decoded[..]);
            let left = decoder.run(&mut from, &mut to).map_err(DecodeError::Wrong)?;
            let bytes = to.as_slice();
            let is_full = bytes.len() == BUFFER;
            written = written.saturating_add(bytes.len() as u64);
            if written > size {
                return Err(DecodeError::TooLong(size));
            }
            output.write_all(bytes)?;
            is_over = left == 0;
            let all_read = from.pos() == n;
            match (is_over, all_read) {
                (true, false) => return Err(DecodeError::Behind),
                (true, true) => break,
                // What does not fit now comes of the next call, without more of the stream.
                (false, true) if !is_full => break,
                (false, _) => {}
            }
        }
    }
    output.flush()?;
    match written {
        written if written == size => Ok(()),
        found => Err(DecodeError::TooShort { found, expected: size }),
    }
}

/// Encodes `size` bytes as one stream of zstd, with so many threads; the stream does not depend on their
/// number. `progress` hears how many bytes were read so far.
pub fn encode(
    window: u64,
    size: u64,
    threads: u32,
    mut input: impl Read,
    mut output: impl Write,
    mut progress: impl FnMut(u64),
) -> io::Result<()> {
    let mut encoder = Encoder::new(LEVEL)?;
    encoder.set_parameter(CParameter::WindowLog(window.max(1).ilog2()))?;
    // Without a thread it would be another stream.
    encoder.set_parameter(CParameter::NbWorkers(threads.max(1)))?;
    encoder.set_pledged_src_size(Some(size))?;
    let (mut plain, mut encoded) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut done = 0;
    loop {
        let n = disk::read(&mut input, &mut plain)?;
        if n == 0 {
            break;
        }
        let mut from = InBuffer::around(&plain[..n]);
        while from.pos() < n {
            let mut to = OutBuffer::around(&mut encoded[..]);
            encoder.run(&mut from, &mut to)?;
            output.write_all(to.as_slice())?;
        }
        done += n as u64;
        progress(done);
    }
    loop {
        let mut to = OutBuffer::around(&mut encoded[..]);
        let left = encoder.finish(&mut to, true)?;
        output.write_all(to.as_slice())?;
        if left == 0 {
            return output.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 4 << 20;

    fn encoded(bytes: &[u8], window: u64, threads: u32) -> Vec<u8> {
        let mut stream = Vec::new();
        encode(window, bytes.len() as u64, threads, bytes, &mut stream, |_| ()).unwrap();
        stream
    }

    fn decoded(stream: &[u8], window: u64, size: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let result = decode(window, size as u64, stream, &mut bytes);
        assert!(bytes.len() <= size, "{} of {size}", bytes.len());
        result.map(|()| bytes).map_err(|error| error.to_string())
    }

    /// Neither all the same nor without any order.
    fn program(size: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        let words: Vec<[u8; 16]> = (0..997).map(|_| [(); 16].map(|()| random.u8(..))).collect();
        let mut bytes = Vec::with_capacity(size + 16);
        while bytes.len() < size {
            bytes.extend_from_slice(&words[random.usize(..words.len())]);
        }
        bytes.truncate(size);
        bytes
    }

    #[test]
    fn what_was_encoded_comes_back_with_any_number_of_threads_the_same() {
        for size in [1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER, 20 << 20] {
            let bytes = program(size);
            let stream = encoded(&bytes, WINDOW, 1);
            assert!(decoded(&stream, WINDOW, size).unwrap() == bytes, "{size}");
            assert!(stream == encoded(&bytes, WINDOW, 3), "{size}");
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_size_that_was_said() {
        let stream = encoded(&vec![0; 64 << 20], WINDOW, 1);
        assert!(stream.len() < 16 << 10, "{}", stream.len());
        for size in [0, 1, BUFFER, (64 << 20) - 1] {
            assert_eq!(
                decoded(&stream, WINDOW, size),
                Err(format!("more than {size} bytes come of it"))
            );
        }
        let longer = decoded(&stream, WINDOW, (64 << 20) + 1).unwrap_err();
        assert_eq!(longer, "67108864 bytes come of it instead of 67108865");
    }

    #[test]
    fn a_window_above_the_one_that_was_said_is_refused() {
        let bytes = program(3 << 20);
        let stream = encoded(&bytes, WINDOW, 1);
        assert!(decoded(&stream, 2 << 20, bytes.len()).unwrap_err().contains("can't be decoded"));
        let small = encoded(&bytes, 1 << 20, 1);
        assert!(decoded(&small, 1 << 20, bytes.len()).unwrap() == bytes);
    }

    #[test]
    fn a_stream_that_is_cut_off_or_goes_on_is_refused() {
        let bytes = program(300_000);
        let stream = encoded(&bytes, WINDOW, 1);
        for length in [0, 1, 4, stream.len() / 2, stream.len() - 1] {
            assert_eq!(
                decoded(&stream[..length], WINDOW, bytes.len()),
                Err("it ends before its end".into()),
                "{length}"
            );
        }
        for more in [&b"x"[..], &stream] {
            let longer = [&stream, more].concat();
            assert_eq!(
                decoded(&longer, WINDOW, bytes.len()),
                Err("something stands behind its end".into())
            );
        }
        assert!(decoded(b"no stream at all", WINDOW, 1).unwrap_err().contains("can't be decoded"));
    }
}
