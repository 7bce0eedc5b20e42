//! A payload in a directory: a program, the daemon with its configuration, the FTP server, and a
//! restart that only kills and starts processes. The demonstration and the tests live in it; nothing
//! outside the directory is touched.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tempfile::TempDir;

use uplift_fixtures::elf::{Architecture, Program};
use uplift_fixtures::executable;

use super::version::Version;

/// How long the daemon, the FTP server and a restart may take to appear. Generous: a loaded machine
/// is no failure.
const DEADLINE: Duration = Duration::from_secs(30);
/// Has the kernel end a process together with the thread that started it. From util-linux, which is
/// everywhere.
const DIE_TOGETHER: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];
/// Between two looks at a process and a file together, of which no one event tells.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Product name of the sandbox's payload.
pub const PRODUCT: &str = "PSDK_APPALIAS";

/// The payload. Dropped, its processes end and its directory is removed.
#[derive(Debug)]
pub struct Sandbox {
    root: TempDir,
    uplift: PathBuf,
    environment: Vec<(String, String)>,
    rescue_timer: String,
    wrapper: Vec<String>,
    channels_wrapper: Vec<String>,
    daemon: Option<Child>,
    ftp_server: Option<Child>,
    channels: Option<Child>,
    program: Option<Child>,
    boots: u32,
}

impl Sandbox {
    /// An empty payload that will run the `uplift` binary given.
    pub fn new(uplift: &Path) -> anyhow::Result<Self> {
        let root = TempDir::with_prefix("uplift-sandbox-")
            .context("no temporary directory can be made")?;
        for directory in ["bin", "state", "run", "upgrade"] {
            fs::create_dir(root.path().join(directory))?;
        }
        let mut sandbox = Self {
            root,
            uplift: uplift.to_owned(),
            environment: Vec::new(),
            rescue_timer: String::new(),
            wrapper: Vec::new(),
            channels_wrapper: Vec::new(),
            daemon: None,
            ftp_server: None,
            channels: None,
            program: None,
            boots: 0,
        };
        sandbox.new_boot()?;
        Ok(sandbox)
    }

    /// The sandbox's directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where the program lies.
    pub fn program(&self) -> PathBuf {
        self.root().join("bin/payload")
    }

    /// The daemon's configuration file.
    pub fn config(&self) -> PathBuf {
        self.root().join("uplift.toml")
    }

    /// The directory of the state file and the history.
    pub fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    /// The FTP server's home.
    pub fn upload_area(&self) -> PathBuf {
        self.root().join("upgrade")
    }

    /// The daemon's control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.root().join("run/control.sock")
    }

    /// The file that the restart command makes.
    pub fn restart_request(&self) -> PathBuf {
        self.root().join("run/restart-requested")
    }

    /// Installs a tiny program of this version by hand.
    pub fn install_by_hand(&self, version: Version) -> anyhow::Result<()> {
        executable::write(&self.program(), &Program::new(Architecture::host()?, version.0).bytes())
    }

    /// Makes a firmware file of this version, `size` bytes long or as small as it can be.
    pub fn firmware(&self, version: Version, size: Option<u64>) -> anyhow::Result<PathBuf> {
        let path = self.root().join(format!("{PRODUCT}_{version}.bin"));
        let program = Program::new(Architecture::host()?, version.0);
        let program = match size {
            Some(size) => program.filled_to(size),
            None => program,
        };
        let mut file = io::BufWriter::new(fs::File::create(&path)?);
        program.write(&mut file)?;
        file.flush()?;
        Ok(path)
    }

    /// Writes the configuration, with which the daemon runs what it checks directly: a user without
    /// rights would not find it in this directory. `program` is appended to the section
    /// `[component.program]`, `sections` to the file.
    pub fn configure(&self, program: &str, sections: &str) -> anyhow::Result<()> {
        let (root, timer) = (self.root().display(), &self.rescue_timer);
        let text = format!(
            r#"[component.program]
product = "{PRODUCT}"
path = "{root}/bin/payload"
version_command = ["--version"]
isolate_commands = "never"
{program}
[paths]
state = "{root}/state"
control = "{root}/run/control.sock"
boot_id = "{root}/run/boot_id"
rescue_timer = "{timer}"
{sections}
"#
        );
        Ok(write_file(&self.config(), text.as_bytes())?)
    }

    /// The sections of a payload with a serial line at `run/ttyPayload` and an FTP server of its
    /// own. `baud` is what stands in the configuration: a rate, or `"auto"` with its quotation
    /// marks. A server in the sandbox answers at once or never.
    pub fn link_sections(&self, baud: &dyn std::fmt::Display, ftp: SocketAddr) -> String {
        let root = self.root().display();
        format!(
            r#"
[channel.psdk]
device = "{root}/run/ttyPayload"
baud = {baud}
[transfer.ftp]
address = "{ftp}"
timeout = "3s"
[ftp_server]
listen = "{ftp}"
home = "{root}/upgrade"
keep_free = 0
"#
        )
    }

    /// The line of `[component.program]` that has a restart told to the sandbox instead of restarting the
    /// machine.
    pub fn restart_line(&self) -> String {
        format!("restart = [\"touch\", \"{}\"]", self.restart_request().display())
    }

    /// Has the daemon start this timer at each swap, from the next configuration on. Without it
    /// none is: it would be the machine's own.
    pub fn set_rescue_timer(&mut self, timer: &str) {
        timer.clone_into(&mut self.rescue_timer);
    }

    /// Sets an environment variable of the processes that are started from now on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs the daemon by another program from now on, such as a tracer with its arguments; empty
    /// is by itself.
    pub fn wrap_daemon(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().copied().map(String::from).collect();
    }

    /// The same of the network channels.
    pub fn wrap_channels(&mut self, wrapper: &[&str]) {
        self.channels_wrapper = wrapper.iter().copied().map(String::from).collect();
    }

    /// `uplift` with the sandbox's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_by(&[], arguments)
    }

    fn command_by(&self, wrapper: &[String], arguments: &[&str]) -> Command {
        let mut words = wrapper.iter().map(AsRef::as_ref).chain([self.uplift.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub fn start_daemon(&mut self) -> anyhow::Result<()> {
        self.daemon = Some(self.start("daemon", &self.wrapper)?);
        Ok(())
    }

    /// Starts the FTP server on `address` and waits until it says that it is ready.
    pub fn start_ftp_server(&mut self) -> anyhow::Result<()> {
        self.ftp_server = Some(self.start("ftp-server", &[])?);
        Ok(())
    }

    /// Starts the process of the network channels and waits until it says that it is ready.
    pub fn start_channels(&mut self) -> anyhow::Result<()> {
        self.channels = Some(self.start("channels", &self.channels_wrapper)?);
        Ok(())
    }

    /// A process of the payload, which does not outlive this one, however this one ends.
    fn start(&self, name: &str, wrapper: &[String]) -> anyhow::Result<Child> {
        let path = self.root().join(format!("run/{name}.notify"));
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path)?;
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log(name))?;
        let wrapper: Vec<String> =
            DIE_TOGETHER.map(String::from).into_iter().chain(wrapper.iter().cloned()).collect();
        let mut command = self.command_by(&wrapper, &[name]);
        command.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(log);
        let mut child = command
            .spawn()
            .with_context(|| format!("{name} can't be started by {}", DIE_TOGETHER[0]))?;
        let ready = wait_ready(&socket, &mut child);
        if let Err(error) = ready {
            end(Some(child));
            return Err(error.context(format!(
                "{name}: {}",
                fs::read_to_string(self.log(name)).unwrap_or_default()
            )));
        }
        Ok(child)
    }

    /// What a process wrote to its standard error so far.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root().join(format!("run/{name}.log"))
    }

    /// The daemon's process id, while it runs.
    pub fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// The FTP server's process id, while it runs.
    pub fn ftp_server_pid(&self) -> Option<u32> {
        self.ftp_server.as_ref().map(Child::id)
    }

    /// The process id of the network channels, while they run.
    pub fn channels_pid(&self) -> Option<u32> {
        self.channels.as_ref().map(Child::id)
    }

    /// Ends the daemon at once, as a crash would.
    pub fn kill_daemon(&mut self) {
        end(self.daemon.take());
    }

    /// Ends the FTP server at once.
    pub fn kill_ftp_server(&mut self) {
        end(self.ftp_server.take());
    }

    /// Ends the process of the network channels at once.
    pub fn kill_channels(&mut self) {
        end(self.channels.take());
    }

    /// Starts the program at the path, as the payload's own unit would. It does not outlive this
    /// process either.
    pub fn start_program(&mut self) -> anyhow::Result<()> {
        end(self.program.take());
        let [starter, options @ ..] = DIE_TOGETHER;
        let mut command = Command::new(starter);
        command.args(options).arg(self.program()).stdin(Stdio::null());
        self.program = Some(
            command
                .spawn()
                .with_context(|| format!("the payload's program can't be started by {starter}"))?,
        );
        Ok(())
    }

    /// What the program at the path says when it is asked for its version.
    pub fn reported_version(&self) -> anyhow::Result<String> {
        let output = Command::new(self.program()).arg("--version").output()?;
        ensure!(output.status.success(), "the program at the path ended with {}", output.status);
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Whether the daemon has asked for a restart that was not carried out yet.
    pub fn restart_requested(&self) -> bool {
        self.restart_request().exists()
    }

    /// Waits until the daemon asks for a restart.
    pub fn wait_for_restart_request(&self) -> anyhow::Result<()> {
        self.wait_for_restart_request_within(DEADLINE)
    }

    /// The same, where the file before it takes longer.
    pub fn wait_for_restart_request_within(&self, limit: Duration) -> anyhow::Result<()> {
        wait_for_file_within(&self.restart_request(), limit)
            .context("the daemon did not ask for a restart")
    }

    /// Waits until the daemon asks for a restart (true) or is dead (false).
    pub fn daemon_dies_or_asks_for_restart(&mut self) -> anyhow::Result<bool> {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            if self.restart_request().exists() {
                return Ok(true);
            }
            let daemon = self.daemon.as_mut().context("no daemon runs")?;
            if daemon.try_wait()?.is_some() {
                return Ok(false);
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        bail!("the daemon neither died nor asked for a restart within {} s", DEADLINE.as_secs())
    }

    /// Restarts the payload: all its processes end at once, and start again under another boot id.
    /// The FTP server and the network channels too, if they ran.
    pub fn reboot(&mut self) -> anyhow::Result<()> {
        let (ftp_server, program) = (self.ftp_server.is_some(), self.program.is_some());
        let channels = self.channels.is_some();
        self.power_off();
        self.new_boot()?;
        if ftp_server {
            self.start_ftp_server()?;
        }
        if program {
            self.start_program()?;
        }
        self.start_daemon()?;
        if channels { self.start_channels() } else { Ok(()) }
    }

    /// Restarts the program alone, in what passes for another boot: to a daemon that goes on, the
    /// evidence of a restart.
    pub fn restart_program(&mut self) -> anyhow::Result<()> {
        self.new_boot()?;
        if self.program.is_some() { self.start_program() } else { Ok(()) }
    }

    /// Ends all processes at once.
    pub fn power_off(&mut self) {
        let rest = [self.ftp_server.take(), self.channels.take(), self.program.take()];
        [self.daemon.take()].into_iter().chain(rest).for_each(end);
    }

    fn new_boot(&mut self) -> anyhow::Result<()> {
        self.boots += 1;
        let _ = fs::remove_file(self.restart_request());
        Ok(write_file(
            &self.root().join("run/boot_id"),
            format!("sandbox-boot-{}\n", self.boots).as_bytes(),
        )?)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.power_off();
    }
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn wait_ready(socket: &UnixDatagram, child: &mut Child) -> anyhow::Result<()> {
    let end = Instant::now() + DEADLINE;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut message = [0; 4096];
    while Instant::now() < end {
        match socket.recv(&mut message) {
            Ok(n) if message[..n].split(|&byte| byte == b'\n').any(|line| line == b"READY=1") => {
                return Ok(());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                if let Some(status) = child.try_wait()? {
                    bail!("it ended with {status} instead of getting ready");
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    bail!("it is not ready after {} s", DEADLINE.as_secs())
}

/// Waits until a file exists, by the kernel's word.
pub fn wait_for_file(path: &Path) -> anyhow::Result<()> {
    wait_for_file_within(path, DEADLINE)
}

fn wait_for_file_within(path: &Path, limit: Duration) -> anyhow::Result<()> {
    let directory = path.parent().context("a file has a directory")?;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(directory, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
    let end = Instant::now() + limit;
    while !path.exists() {
        let left = end.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "{} did not appear within {} s", path.display(), limit.as_secs());
        let mut descriptors = [PollFd::new(std::os::fd::AsFd::as_fd(&inotify), PollFlags::POLLIN)];
        match poll(&mut descriptors, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let _ = inotify.read_events();
    }
    Ok(())
}

/// Files of the sandbox need not survive anything.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::File::create(path)?.write_all(bytes)
}
