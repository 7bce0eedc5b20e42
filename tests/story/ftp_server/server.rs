//! The server under test: started on a free port, stopped when dropped.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::peer::Peer;

/// The account of the vendor's tutorial, which is the default.
pub(crate) const USER: &str = "psdk_payload_ftp";
/// Its password.
pub(crate) const PASSWORD: &str = "DJi_#$31";
/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running server with a home of its own.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    home: PathBuf,
    pub(crate) directory: TempDir,
}

impl Server {
    /// A server with the default settings.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// A server with further lines in its `[ftp_server]` section.
    pub(crate) fn with(settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("upgrade");
        std::fs::create_dir(&home).unwrap();
        Self::launch(directory, home, settings, Command::new(env!("CARGO_BIN_EXE_uplift")))
    }

    /// A server that `program` runs, in a directory that is there already.
    pub(crate) fn launch(
        directory: TempDir,
        home: PathBuf,
        settings: &str,
        program: Command,
    ) -> Self {
        let config = write_config(directory.path(), &home, settings);
        let (child, log, address) = spawn(program, &config);
        let address = address
            .unwrap_or_else(|| panic!("the server does not listen: {}", log.lock().unwrap()));
        Self { child, address, log, home, directory }
    }

    /// A peer that has got its greeting.
    pub(crate) fn connect(&self) -> Peer {
        let mut peer = Peer::new(TcpStream::connect(self.address).unwrap());
        peer.expect(220);
        peer
    }

    /// A peer that is logged in.
    pub(crate) fn login(&self) -> Peer {
        let mut peer = self.connect();
        peer.ask(&format!("USER {USER}"), 331);
        peer.ask(&format!("PASS {PASSWORD}"), 230);
        peer
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Everything in the home, hidden names too, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.home)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A file's content.
    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.home.join(name)).unwrap()
    }

    /// Puts a file into the home, past the server.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.home.join(name), content).unwrap();
    }

    /// Waits until the home holds exactly these names.
    pub(crate) fn wait_for_names(&self, expected: &[&str]) {
        self.wait_for(|names| names == expected);
    }

    /// Waits until its names are such.
    pub(crate) fn wait_for(&self, expected: impl Fn(&[String]) -> bool) {
        wait_until(|| expected(&self.names()), || format!("{:?} are there", self.names()));
    }

    /// What the server has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal by number and waits for the exit.
    pub(crate) fn stop(&mut self, signal: nix::sys::signal::Signal) -> std::process::ExitStatus {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes the configuration; settings may give `listen` themselves.
pub(crate) fn write_config(directory: &Path, home: &Path, settings: &str) -> PathBuf {
    let path = directory.join("uplift.toml");
    let listen = if settings.contains("listen =") { "" } else { "listen = \"127.0.0.1:0\"\n" };
    let keep_free = if settings.contains("keep_free =") { "" } else { "keep_free = 0\n" };
    let text = format!(
        "[component.program]\nname = \"demo\"\nproduct = \"DEMO\"\n[ftp_server]\nhome = \"{}\"\n{listen}{keep_free}{settings}\n",
        home.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Starts the program and waits for its address, or for its end.
fn spawn(mut program: Command, config: &Path) -> (Child, Arc<Mutex<String>>, Option<SocketAddr>) {
    program
        .arg("ftp-server")
        .arg("--config")
        .arg(config)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .stdin(Stdio::null());
    let mut child =
        program.spawn().unwrap_or_else(|error| panic!("{program:?} can't be started: {error}"));
    let log = Arc::new(Mutex::new(String::new()));
    let (sender, receiver) = mpsc::channel();
    let (stderr, shared) = (child.stderr.take().unwrap(), Arc::clone(&log));
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let address = line
                .split_once("listening on ")
                .and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
            shared.lock().unwrap().push_str(&(line + "\n"));
            if let Some(address) = address {
                let _ = sender.send(address);
            }
        }
    });
    let address = receiver.recv_timeout(PATIENCE).ok();
    (child, log, address)
}

/// Runs a server that is expected not to start; its exit code and what it said.
pub(crate) fn refused(home: &Path, settings: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let config = write_config(directory.path(), home, settings);
    let output = Command::new(env!("CARGO_BIN_EXE_uplift"))
        .arg("ftp-server")
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Waits for a condition that no event announces to an outsider.
pub(crate) fn wait_until(condition: impl Fn() -> bool, explain: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{}", explain());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes that compress badly, repeat never, and hold every line end.
pub(crate) fn firmware(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Reads to the end of a data connection.
pub(crate) fn drain(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}
