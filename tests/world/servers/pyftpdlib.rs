//! Python's pyftpdlib, as a program of a few lines has it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = "\
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
authorizer = DummyAuthorizer()
authorizer.add_user('psdk_payload_ftp', 'DJi_#$31', sys.argv[1], perm='elradfmwMT')
FTPHandler.authorizer = authorizer
server = FTPServer(('127.0.0.1', 0), FTPHandler)
print(*server.address, sep=':', flush=True)
server.serve_forever()
";

/// A running server.
pub(crate) struct Pyftpdlib {
    pub(crate) address: SocketAddr,
    home: tempfile::TempDir,
    server: Child,
}

impl Pyftpdlib {
    /// Starts it, with an empty home.
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut server = Command::new("/usr/bin/python3");
        server
            .args(["-c", PROGRAM])
            .arg(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut server = server.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().parse().expect("tests/install-packages installs python3-pyftpdlib");
        Self { address, home, server }
    }

    /// The directory that clients see.
    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }
}

impl Drop for Pyftpdlib {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
