//! A broker of MQTT for platforms that need one: Eclipse Mosquitto, as a process of its own on a
//! private port. Knows nothing of platforms.

use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::event::{Events, Log};
use crate::ports::free_address;

/// Lets everybody do everything, and sends at once: else what follows a confirmation waits, up to
/// 40 ms, until the other side has acknowledged that.
pub const OPEN: &str = "set_tcp_nodelay true\nlistener PORT 127.0.0.1\nallow_anonymous true\n";

/// Besides PATH: Debian's place for it, which is not in everybody's.
const OF_DEBIAN: &str = "/usr/sbin";
/// How long a broker may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tries to be faster at a port than other processes.
const TRIES: usize = 5;
/// Told behind the last line of a process.
const ENDED: &str = "(ended)";

/// A broker, which knows no more after a restart than its configuration has it keep. Dropped, it is
/// killed.
pub struct Mosquitto {
    program: PathBuf,
    directory: TempDir,
    ports: [u16; 2],
    log: Log<String>,
    process: Option<(Child, JoinHandle<()>)>,
}

/// The program: this one, or one that is found.
pub fn program(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from(OF_DEBIAN)]);
    let mut programs = places.map(|place| place.join("mosquitto"));
    programs.find(|program| program.is_file()).context(
        "there is no broker: install Debian's package `mosquitto`, name its program, or name a broker that runs",
    )
}

impl Mosquitto {
    /// Starts the program. In the configuration `PORT` and `OTHER` stand for ports that are free, and
    /// `HERE` for the directory.
    pub fn start(program: &Path, directory: TempDir, configuration: &str) -> anyhow::Result<Self> {
        let mut broker = Self {
            program: program.to_owned(),
            directory,
            ports: [0; 2],
            log: Log::new(),
            process: None,
        };
        for _ in 0..TRIES {
            broker.ports = [free_address()?.port(), free_address()?.port()];
            broker.configure(configuration)?;
            match broker.run() {
                // Somebody was faster.
                Err(error) if format!("{error:#}").contains("in use") => {}
                result => return result.map(|()| broker),
            }
        }
        bail!("no port is free")
    }

    fn configure(&self, configuration: &str) -> anyhow::Result<()> {
        let here = self.directory.path().to_str().context("a directory with a strange name")?;
        let [port, other] = self.ports.map(|port| port.to_string());
        let text = configuration.replace("PORT", &port).replace("OTHER", &other);
        let text = text.replace("HERE", here);
        let mut file = File::create(self.configuration())?;
        writeln!(file, "{text}\nlog_dest stderr")?;
        Ok(())
    }

    fn configuration(&self) -> PathBuf {
        self.directory.path().join("mosquitto.conf")
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let mut said = self.log.events();
        while said.next(Duration::ZERO).is_some() {}
        let mut child = Command::new(&self.program)
            .arg("-c")
            .arg(self.configuration())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} can't be started", self.program.display()))?;
        let stderr = child.stderr.take().context("it has a standard error")?;
        let log = self.log.clone();
        let reading = std::thread::spawn(move || read(stderr, &log));
        self.process = Some((child, reading));
        let ready = |line: &String| line.ends_with(" running") || line == ENDED;
        match said.wait_for(PATIENCE, ready) {
            Some(line) if line != ENDED => Ok(()),
            _ => {
                self.kill();
                let said = self.log.events().so_far();
                bail!("the broker does not run: {}", said.join("; "))
            }
        }
    }

    /// Where it listens at 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Its other port, if its configuration has it listen there.
    #[must_use]
    pub const fn other_port(&self) -> u16 {
        self.ports[1]
    }

    /// The same for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port())
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// All that it says, from its first start on, a line an event.
    #[must_use]
    pub fn log(&self) -> Events<String> {
        self.log.events()
    }

    /// Has it end, as a system does.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while let Some((process, _)) = &mut self.process
            && matches!(process.try_wait(), Ok(None))
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    /// Ends it, as a power cut does.
    pub fn kill(&mut self) {
        if let Some((mut process, reading)) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
            let _ = reading.join();
        }
    }

    /// Has it stand still. Its connections stay open.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Has it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Starts it again, at the same port.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.run()
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().and_then(|(process, _)| i32::try_from(process.id()).ok());
        if let Some(id) = id {
            // Not waited for yet: the id is its own.
            let _ = kill(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for Mosquitto {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mosquitto").field("url", &self.url()).finish_non_exhaustive()
    }
}

fn read(said: impl Read, log: &Log<String>) {
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        log.tell(line);
    }
    log.tell(ENDED.to_owned());
}
