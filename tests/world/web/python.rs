//! Python's `http.server`: HTTP/1.0, no ranges, no tags.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = "\
import http.server, functools, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
print(*server.server_address, sep=':', flush=True)
server.serve_forever()
";

/// A running server.
pub(crate) struct Python {
    pub(crate) address: SocketAddr,
    files: tempfile::TempDir,
    log: tempfile::NamedTempFile,
    server: Child,
}

impl Python {
    /// Starts it, with no files.
    pub(crate) fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut server = Command::new("/usr/bin/python3");
        server.args(["-c", PROGRAM]).arg(files.path());
        server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.reopen().unwrap());
        let mut server = server.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { address: line.trim().parse().unwrap(), files, log, server }
    }

    /// What it has.
    pub(crate) fn files(&self) -> PathBuf {
        self.files.path().to_owned()
    }

    /// What it was asked, and what it answered.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
