//! The payload of most stories: a sandbox with the daemon, who installs at its shell, and, where a
//! story needs them, the unit of a scripted systemd and the aircraft at the other end of a line.
//!
//! What only one story needs of it is a further `impl Payload` in that story.

mod aircraft;
mod setup;
mod systemd;

use std::ffi::OsStr;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uplift::model::{FailureKind, Installed, Outcome, Phase, Report, Status};
use uplift_sim::sandbox::Sandbox;

pub(crate) use self::aircraft::{Aircraft, Transfer};
pub(crate) use self::setup::Setup;
use self::systemd::Unit;
use super::running::Running;
use super::watched::Watched as _;

/// What runs before the upgrade.
pub(crate) const OLD: &str = "V01.00.00.00";
/// What it is upgraded to.
pub(crate) const NEW: &str = "V02.00.00.00";
/// Bytes of the new firmware: more than one write, few enough for a serial line without a pace.
const SIZE: u64 = 300_000;
/// How long something may take. Generous: a loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// So many lines of the logs are shown when a test fails.
const LAST_LINES: usize = 100;

/// The payload. Dropped, all its processes end, and if the test has failed by then it shows what
/// they said.
#[derive(Debug)]
pub(crate) struct Payload {
    sandbox: Sandbox,
    /// What systemd runs, if there is one.
    unit: Option<Unit>,
}

impl Payload {
    /// A payload that runs [`OLD`], to be adapted and started.
    pub(crate) fn setup() -> Setup {
        Setup::default()
    }

    /// Firmware of the new version.
    pub(crate) fn new_firmware(&self) -> PathBuf {
        self.firmware_of(NEW, SIZE)
    }

    /// Firmware of this version and so many bytes.
    pub(crate) fn firmware_of(&self, version: &str, size: u64) -> PathBuf {
        self.firmware(version.parse().unwrap(), Some(size)).unwrap()
    }

    /// The staging area beside the program.
    pub(crate) fn stage(&self) -> PathBuf {
        self.root().join("bin/.uplift")
    }

    /// The program before the last upgrade.
    pub(crate) fn previous(&self) -> PathBuf {
        self.stage().join("payload.previous")
    }

    /// The lock of a swap, held by somebody else.
    pub(crate) fn hold_lock(&self) -> Flock<fs::File> {
        fs::create_dir_all(self.stage()).unwrap();
        let file = fs::File::create(self.stage().join("lock")).unwrap();
        Flock::lock(file, FlockArg::LockExclusive).unwrap()
    }

    /// What `uplift` with these arguments says, and its exit code.
    pub(crate) fn uplift(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    /// `uplift install` of the new version.
    pub(crate) fn install(&self) -> Running {
        self.install_file(&self.new_firmware())
    }

    /// `uplift install`, which follows the upgrade to its report.
    pub(crate) fn install_file(&self, firmware: &Path) -> Running {
        self.spawn(&["install", firmware.to_str().unwrap()])
    }

    /// `uplift` with these arguments, which goes on meanwhile.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// `uplift` with these arguments, during which the machine restarts.
    pub(crate) fn through_a_restart(&mut self, arguments: &[&str]) -> Output {
        let client = self.spawn(arguments);
        self.restart_when_asked();
        client.wait_with_output().unwrap()
    }

    /// An upgrade of a daemon that goes on; its report.
    pub(crate) fn upgrade(&self) -> Report {
        self.install().wait_with_output().unwrap();
        self.last_report()
    }

    /// Where upload servers hand files over.
    pub(crate) fn uploads_socket(&self) -> PathBuf {
        self.control_socket().with_file_name("uploads.sock")
    }

    /// Watches the daemon's status until an upgrade is in this phase.
    #[track_caller]
    pub(crate) fn wait_for_phase(&self, phase: Phase) -> Status {
        self.wait_for_status(|status| status.phase == phase)
            .unwrap_or_else(|error| panic!("{phase}: {error:#}"))
    }

    /// Waits until the daemon asks for a restart, and carries it out.
    pub(crate) fn restart_when_asked(&mut self) {
        self.wait_for_restart_request().unwrap();
        self.reboot();
    }

    /// The machine starts again: its unit, if systemd has one, and the daemon.
    pub(crate) fn reboot(&mut self) {
        if self.unit.is_some() {
            self.start_unit();
        }
        self.sandbox.reboot().unwrap();
    }

    /// What the status says of the component of this name.
    pub(crate) fn component(&self, name: &str) -> Installed {
        self.status().unwrap().component(name.parse().unwrap()).unwrap().clone()
    }

    /// The version of the component of this name, which is known.
    pub(crate) fn version_of(&self, name: &str) -> String {
        self.component(name).version.unwrap().to_string()
    }

    /// The daemon dies, and another one takes over.
    pub(crate) fn restart_daemon(&mut self) {
        self.kill_daemon();
        self.start_daemon().unwrap();
    }

    /// Writes the configuration anew, for the next daemon.
    pub(crate) fn edit_config(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), change(text)).unwrap();
    }

    /// The reports, oldest first: most stories ask what came after what.
    pub(crate) fn history(&self) -> Vec<Report> {
        let output = self.command(&["history", "--json"]).output().unwrap();
        let told: Result<Vec<Report>, _> = serde_json::from_slice(&output.stdout);
        let mut reports = told.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        reports.reverse();
        reports
    }

    pub(crate) fn last_report(&self) -> Report {
        self.history().pop().expect("there is a report")
    }

    /// How the last upgrade ended: outcome, and kind of the failure.
    pub(crate) fn ending(&self) -> (Outcome, Option<FailureKind>) {
        let report = self.last_report();
        (report.outcome, report.failure.map(|failure| failure.kind))
    }

    /// What its processes said.
    pub(crate) fn logs(&self) -> String {
        let logs = ["daemon", "channels", "ftp-server"].map(|name| self.log(name));
        let logs = logs.into_iter().chain([self.systemd_file("output")]);
        logs.map(|log| String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned())
            .collect()
    }

    /// Waits for what no one event tells of.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, mut is_there: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_there() {
            assert!(Instant::now() < end, "{what} did not come");
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until so many bytes of a file that comes outlive the daemon.
    #[track_caller]
    pub(crate) fn has_written_down(&self, bytes: u64) {
        self.wait_for("what came to be written down", || {
            let part = fs::read(self.state().join("part.json")).unwrap_or_default();
            let part: serde_json::Value = serde_json::from_slice(&part).unwrap_or_default();
            part["offset"].as_u64().is_some_and(|offset| offset >= bytes)
        });
    }

    /// Ends all processes, whatever program they run and whoever started them, and what may start
    /// another. Who asks the daemon for something is left alone.
    pub(crate) fn power_off(&mut self) {
        self.sandbox.power_off();
        self.wait_for("the end of all processes", || {
            let processes: Vec<Pid> = self.processes().collect();
            for process in &processes {
                let _ = kill(*process, Signal::SIGKILL); // it may have ended by itself
            }
            processes.is_empty()
        });
    }

    fn processes(&self) -> impl Iterator<Item = Pid> {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
        let ours = all.filter(|process| self.is_ours(process));
        ours.filter_map(|process| process.file_name()?.to_str()?.parse().ok().map(Pid::from_raw))
    }

    /// Whether a process runs a program of the sandbox, the script that is its systemd, its daemon,
    /// or the rescue. What a daemon has forked looks like it at first.
    fn is_ours(&self, process: &Path) -> bool {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        let words: Vec<&Path> =
            words.split(|byte| *byte == 0).map(|word| Path::new(OsStr::from_bytes(word))).collect();
        let has = |word: &Path| words.contains(&word);
        // The name tells even where the disk under a program was unmounted.
        words[0].starts_with(self.root())
            || fs::read_link(process.join("exe")).is_ok_and(|exe| exe.starts_with(self.root()))
            || has(&self.systemd_file("systemctl"))
            || has(Path::new("daemon")) && has(&self.config())
            || has(&self.state())
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.logs();
            let lines: Vec<&str> = logs.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"));
        }
        self.power_off();
    }
}

/// A payload is a sandbox, and more.
impl Deref for Payload {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl DerefMut for Payload {
    fn deref_mut(&mut self) -> &mut Sandbox {
        &mut self.sandbox
    }
}
