//! A machine in namespaces, with a systemd of its own that runs the units of `systemd/` (see the
//! script `machine`), and a payload's program in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;
use uplift::model::Report;
use uplift::model::version::Version;
use uplift_fixtures::elf::{Architecture, Program};
use uplift_fixtures::executable;

/// Generous: a loaded computer is no failure.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
pub(crate) const OLD: &str = "V01.00.00.00";
pub(crate) const NEW: &str = "V02.00.00.00";
pub(crate) const PRODUCT: &str = "PSDK_APPALIAS";

/// Dropped, all its processes end, and nothing of it is left.
pub(crate) struct Machine {
    /// One at a time: their systemds would take the same names in the kernel's control groups.
    _alone: Flock<fs::File>,
    /// What its root directory is mounted on, and beside it what the script says.
    directory: TempDir,
    holder: Child,
}

impl Machine {
    /// Boots one in which uplift is installed as docs/use/install.md says, enabled, not started, and not
    /// configured yet.
    pub(crate) fn boot() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "a machine in namespaces needs root");
        let lock = fs::File::create(std::env::temp_dir().join("uplift-machine.lock")).unwrap();
        let alone = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
        let directory = TempDir::with_prefix("uplift-machine-").unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/under_systemd/machine");
        // It does not outlive this process, however this one ends.
        let mut holder = Command::new("setpriv");
        holder
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--fork",
                "--kill-child",
            ])
            .arg(script)
            .arg(directory.path());
        let log = fs::File::create(directory.path().join("log")).unwrap();
        holder.args([env!("CARGO_BIN_EXE_uplift"), env!("CARGO_BIN_EXE_uplift-rescue")]);
        holder.arg(crate::programs::uplift_sim());
        let holder = holder
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("util-linux is everywhere");
        let mut machine = Self { _alone: alone, directory, holder };
        machine.wait_for_boot("");
        machine.install();
        machine
    }

    fn install(&self) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        for entry in fs::read_dir(source.join("systemd")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("sysusers") => self.copy(&path, "/usr/lib/sysusers.d/uplift.conf"),
                Some("tmpfiles") => self.copy(&path, "/usr/lib/tmpfiles.d/uplift.conf"),
                Some("service" | "socket" | "timer") => {
                    self.copy(&path, &format!("/etc/systemd/system/{name}"));
                }
                _ => {}
            }
        }
        self.done(&["systemd-sysusers"]);
        self.done(&["systemd-tmpfiles", "--create", "uplift.conf"]);
        self.done(&["systemctl", "daemon-reload"]);
        self.done(&[
            "systemctl",
            "enable",
            "uplift-rescue.service",
            "uplift-rescue.timer",
            "uplift-ftp.socket",
            "uplift.service",
        ]);
    }

    fn copy(&self, from: &Path, to: &str) {
        self.write(to, &fs::read(from).unwrap());
    }

    /// Writes a file of the machine's.
    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        let path = self.inside(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.inside(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A path of the machine's, from outside.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        inside(self.init().expect("the machine runs"), path)
    }

    /// The program of a payload at its path.
    pub(crate) fn install_program(&self, path: &str, program: Program) {
        self.write_executable(path, &program.bytes());
    }

    /// Writes a file of the machine's that may be started at once.
    pub(crate) fn write_executable(&self, path: &str, content: &[u8]) {
        executable::write(&self.inside(path), content).unwrap();
    }

    /// A firmware file of the new version; its path in the machine.
    pub(crate) fn firmware(&self, program: Program) -> String {
        let path = format!("/root/{PRODUCT}_{NEW}.bin");
        self.write(&path, &program.bytes());
        path
    }

    /// The machine's process 1, by its number outside.
    fn init(&self) -> Option<u32> {
        let mut process = self.holder.id();
        loop {
            let children =
                fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
            process = children.split_whitespace().next()?.parse().ok()?;
            if fs::read_to_string(format!("/proc/{process}/comm")).ok()?.trim() == "systemd" {
                return Some(process);
            }
        }
    }

    /// None while it goes down or comes up, which it may do at any time between two looks.
    pub(crate) fn boot_id(&self) -> Option<String> {
        let init = self.init()?;
        let id = fs::read_to_string(inside(init, "/proc/sys/kernel/random/boot_id")).ok()?;
        // Before its directories are in place, it shows those of the computer.
        inside(init, "/run/systemd/private").exists().then_some(id)
    }

    /// A command in the machine.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.command_if_it_runs(words).expect("the machine runs")
    }

    /// None while it goes down or comes up.
    fn command_if_it_runs(&self, words: &[&str]) -> Option<Command> {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.init()?.to_string()).args(["--all", "--"]).args(words);
        command
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        Some(command)
    }

    pub(crate) fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What a command says, which must succeed.
    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{words:?}: {said}{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.journal()
        );
        said
    }

    /// Has systemd run a command that a restart of the machine ends: one from outside would be
    /// stopped for good by it.
    #[track_caller]
    pub(crate) fn starts(&self, words: &[&str]) {
        self.done(&[&["systemd-run", "--quiet", "--collect", "--"], words].concat());
    }

    /// What uplift and systemd logged, of all boots.
    pub(crate) fn journal(&self) -> String {
        let output = self.output(&["journalctl", "--no-pager", "--output=short", "--lines=200"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, is_there: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_there() {
            assert!(Instant::now() < end, "{what} did not come\n{}", self.journal());
            sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until another boot than this one is complete.
    #[track_caller]
    pub(crate) fn wait_for_boot(&mut self, before: &str) {
        let end = Instant::now() + PATIENCE;
        while self.boot_id().is_none_or(|id| id == before) {
            let said = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(
                self.holder.try_wait().unwrap().is_none(),
                "the machine does not boot, or went off: {}",
                said()
            );
            assert!(Instant::now() < end, "the machine does not boot: {}", said());
            sleep(LOOK_INTERVAL);
        }
        let _ = self.output(&["systemctl", "is-system-running", "--wait"]);
    }

    /// Does something that restarts the machine, and waits for the next boot.
    #[track_caller]
    pub(crate) fn reboots_after(&mut self, act: impl FnOnce(&Self)) {
        let before = self.boot_id().unwrap();
        act(self);
        self.wait_for_boot(&before);
    }

    /// The only report, once it is there; the machine may restart before.
    #[track_caller]
    pub(crate) fn report(&self) -> Report {
        let history = || -> Vec<Report> {
            let asked = self.command_if_it_runs(&["uplift", "history", "--json"]);
            let told = asked.map(|mut command| command.output().unwrap().stdout);
            serde_json::from_slice(&told.unwrap_or_default()).unwrap_or_default()
        };
        self.wait_for("the report", || !history().is_empty());
        let mut reports = history();
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    /// The digest-proved version that the running process of the program's unit tells.
    pub(crate) fn running(&self, unit: &str) -> String {
        let pid = self.done(&["systemctl", "show", "--property=MainPID", "--value", unit]);
        self.done(&[&format!("/proc/{}/exe", pid.trim()), "--version"]).trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With its process 1 the kernel ends all others of it.
        if let Some(init) = self.init().and_then(|init| i32::try_from(init).ok()) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(init),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let _ = self.holder.wait();
    }
}

/// A path of the machine's, from outside, by its process 1.
fn inside(init: u32, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{init}/root{path}"))
}

/// A program of this version for this computer.
pub(crate) fn program(version: &str) -> Program {
    Program::new(Architecture::host().unwrap(), version.parse::<Version>().unwrap().numbers())
}
