//! `uplift ftp-server` with a home of its own, on a port that the kernel chose.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

/// A running server.
pub(crate) struct OwnServer {
    child: Child,
    address: SocketAddr,
    log: Option<JoinHandle<()>>,
    directory: tempfile::TempDir,
}

impl OwnServer {
    /// Starts it, with an empty home.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (home, config) =
            (directory.path().join("upgrade"), directory.path().join("uplift.toml"));
        std::fs::create_dir(&home).unwrap();
        let text = format!(
            "[component.program]\nname = \"demo\"\nproduct = \"DEMO\"\n[ftp_server]\nlisten = \"127.0.0.1:0\"\nhome = {home:?}\nkeep_free = 0\n"
        );
        File::create(&config).unwrap().write_all(text.as_bytes()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplift"));
        command
            .arg("--config")
            .arg(config)
            .arg("ftp-server")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        let address = loop {
            let before = told.len();
            assert!(log.read_line(&mut told).unwrap() > 0, "the server ended: {told}");
            let listening = told[before..]
                .split_once("listening on ")
                .and_then(|(_, rest)| rest.split(',').next()?.trim().parse().ok());
            if let Some(address) = listening {
                break address;
            }
        };
        // What it says from now on is read and dropped, or its pipe would fill.
        let log = std::thread::spawn(move || drop(log.read_to_end(&mut Vec::new())));
        Self { child, address, log: Some(log), directory }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory that clients see.
    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("upgrade")
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}
