//! A payload whose program is the daemon: `uplift` runs from the path that it upgrades, as the unit
//! of a scripted systemd.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::systemd::Systemd;
use crate::world::watched::Watched as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use uplift::model::Report;
use uplift::model::version::Version;
use uplift_fixtures::elf::{Architecture, Program};
use uplift_sim::sandbox::{PRODUCT, Sandbox};

pub(crate) const NEW: &str = "V02.00.00.00";
/// Generous: a loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Beyond every deadline of the trial, in seconds.
pub(crate) const LATE: u64 = 9999;

pub(crate) struct Payload {
    pub(crate) sandbox: Sandbox,
    pub(crate) old: Vec<u8>,
}

impl Payload {
    /// The daemon runs from its path.
    pub(crate) fn new() -> Self {
        let mut sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        sandbox.set_rescue_timer("uplift-rescue.timer");
        let program = "unit = \"uplift.service\"\nrestart = \"unit\"\nrestart_deadline = \"30s\"";
        sandbox.configure(program, "[trial]\nwindow = \"200ms\"\ndeadline = \"30s\"\n").unwrap();
        let config = fs::read_to_string(sandbox.config()).unwrap();
        let config =
            config.replace("version_command = [\"--version\"]", "version = \"V01.00.00.00\"");
        fs::write(sandbox.config(), config).unwrap();
        objcopy(&["--strip-debug"], &sandbox.program());
        let old = fs::read(sandbox.program()).unwrap();
        let payload = Self { sandbox, old };
        payload.install_systemd();
        payload.clock(100);
        payload.start();
        payload
    }

    fn systemd(&self) -> Systemd<'_> {
        Systemd::of(&self.sandbox)
    }

    fn install_systemd(&self) {
        self.systemd().install();
        self.systemd().has_journal(r#"echo '{"MESSAGE":"thread main panicked"}'"#);
    }

    /// systemd starts the unit, which is the daemon.
    pub(crate) fn start(&self) {
        let mut systemctl = self.systemd().systemctl(&["restart", "uplift.service"]);
        assert!(systemctl.env("CONFIG", self.sandbox.config()).status().unwrap().success());
    }

    pub(crate) fn asked(&self, what: &str) -> usize {
        self.systemd().asked(what)
    }

    /// Seconds since the machine's start.
    pub(crate) fn clock(&self, seconds: u64) {
        fs::write(self.sandbox.root().join("run/uptime"), format!("{seconds}.00 0.00\n")).unwrap();
    }

    /// The power is cut, and the machine starts: first the rescue, then the unit.
    pub(crate) fn boot(&self, number: u32) {
        self.power_off();
        fs::write(self.sandbox.root().join("run/boot_id"), format!("boot-{number}\n")).unwrap();
        self.clock(9);
        self.rescue("boot");
        self.start();
    }

    pub(crate) fn rescue(&self, call: &str) {
        let mut rescue = self.systemd().rescue(&[], call);
        let output = rescue.env("CONFIG", self.sandbox.config()).output().unwrap();
        assert!(output.status.success(), "{call}: {output:?}");
    }

    /// A daemon that is another program and does the same.
    pub(crate) fn good_daemon(&self) -> PathBuf {
        let (note, firmware) = (self.sandbox.root().join("note"), self.firmware());
        fs::write(&note, "another program").unwrap();
        objcopy(
            &["--strip-debug", "--add-section", &format!(".note.test={}", note.display())],
            &firmware,
        );
        firmware
    }

    /// A daemon that ends as soon as it is started.
    pub(crate) fn crashing_daemon(&self) -> PathBuf {
        self.tiny_daemon(Program::new(
            Architecture::host().unwrap(),
            NEW.parse::<Version>().unwrap().numbers(),
        ))
    }

    /// A daemon that is there and says nothing.
    pub(crate) fn hanging_daemon(&self) -> PathBuf {
        self.tiny_daemon(
            Program::new(Architecture::host().unwrap(), NEW.parse::<Version>().unwrap().numbers())
                .hanging(),
        )
    }

    fn tiny_daemon(&self, program: Program) -> PathBuf {
        fs::write(self.firmware(), program.bytes()).unwrap();
        self.firmware()
    }

    fn firmware(&self) -> PathBuf {
        self.sandbox.root().join(format!("{PRODUCT}_{NEW}.bin"))
    }

    /// `uplift install`, which follows the upgrade to its report.
    pub(crate) fn install(&self, firmware: &Path) -> Child {
        self.wait_for("the daemon", || self.sandbox.status().is_ok());
        let mut command = self.sandbox.command(&["install", firmware.to_str().unwrap()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Installs, and waits until systemd has started the new daemon.
    pub(crate) fn swap_in(&self, firmware: &Path) -> Child {
        let restarts = self.asked("restart");
        let client = self.install(firmware);
        self.wait_for("the restart", || self.asked("restart") > restarts);
        client
    }

    pub(crate) fn wait_for(&self, what: &str, is_there: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_there() {
            assert!(Instant::now() < end, "{what} did not come\n{}", self.log());
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// The report that the client waited for, and what it said.
    pub(crate) fn report(&self, client: Child) -> (Report, String) {
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let last = self.history().pop().map(serde_json::from_value);
        let report = last.unwrap_or_else(|| panic!("no report: {said}\n{}", self.log())).unwrap();
        (report, said)
    }

    pub(crate) fn history(&self) -> Vec<Value> {
        let output = self.sandbox.command(&["history", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn old_is_at_path(&self) -> bool {
        fs::read(self.sandbox.program()).unwrap() == self.old
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.systemd().file("output")).unwrap_or_default()
    }

    /// Ends all processes of the payload, whatever program they run, and the scripts that may start
    /// another.
    pub(crate) fn power_off(&self) {
        self.wait_for("the end of all processes", || {
            let processes: Vec<Pid> = self.processes().collect();
            for process in &processes {
                // It may have ended by itself.
                let _ = kill(*process, Signal::SIGKILL);
            }
            processes.is_empty()
        });
    }

    fn processes(&self) -> impl Iterator<Item = Pid> {
        let script = self.systemd().file("systemctl");
        let is_ours = move |process: &PathBuf| {
            let words = fs::read(process.join("cmdline")).unwrap_or_default();
            fs::read_link(process.join("exe")).is_ok_and(|exe| exe.starts_with(self.sandbox.root()))
                || words.split(|byte| *byte == 0).any(|word| word == script.as_os_str().as_bytes())
        };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
        let ours = all.filter(is_ours);
        ours.filter_map(|process| process.file_name()?.to_str()?.parse().ok().map(Pid::from_raw))
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// A copy of the daemon's binary.
fn objcopy(arguments: &[&str], to: &Path) {
    let mut objcopy = Command::new("objcopy");
    let status = objcopy.args(arguments).arg(env!("CARGO_BIN_EXE_uplift")).arg(to).status();
    assert!(status.expect("objcopy can't be run; `tests/run` installs it").success());
}
