//! Requests and answers over a local socket as a thread has them that may block.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Asks, and waits for the answer, a line of at most `longest` bytes.
pub(super) fn ask<T: DeserializeOwned>(
    stream: &mut BufReader<UnixStream>,
    request: &impl Serialize,
    longest: usize,
) -> io::Result<T> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.get_mut().write_all(&line)?;
    answer(stream, longest)
}

/// The next answer.
pub(super) fn answer<T: DeserializeOwned>(
    stream: &mut BufReader<UnixStream>,
    longest: usize,
) -> io::Result<T> {
    let mut line = Vec::new();
    stream.take(longest as u64).read_until(b'\n', &mut line).map_err(|error| {
        match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(), // a person is told so
            _ => error,
        }
    })?;
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}
