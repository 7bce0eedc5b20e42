//! A client of one of the daemon's local sockets that says what it likes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How long it waits for what the daemon owes it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Connects, and says this.
pub(crate) fn say(socket: &Path, bytes: &[u8]) -> UnixStream {
    let mut stream = connect(socket);
    stream.write_all(bytes).unwrap();
    stream
}

/// The next answer, and nothing behind it.
pub(crate) fn answer(stream: &UnixStream) -> Value {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}
