//! A payload whose systemd is a script with one unit, kept in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::systemd::Systemd;
use crate::world::watched::Watched as _;
use uplift::model::{Failure, FailureKind, Report, Status, TrialWait};
use uplift_sim::sandbox::Sandbox;

/// What runs before the upgrade.
pub(crate) const OLD: &str = "V01.00.00.00";
/// What it is upgraded to.
pub(crate) const NEW: &str = "V02.00.00.00";

/// The payload. Its unit runs the program at the path.
pub(crate) struct Payload {
    pub(crate) sandbox: Sandbox,
}

impl Payload {
    /// The unit runs, the daemon does too; `program` and `sections` are lines of the configuration.
    pub(crate) fn new(program: &str, sections: &str) -> Self {
        Self::with_trial(program, &format!("window = \"100ms\"\ndeadline = \"2s\"\n{sections}"))
    }

    /// The same with a trial of the test's own, and whatever sections follow.
    pub(crate) fn with_trial(program: &str, trial: &str) -> Self {
        let mut payload =
            Self { sandbox: Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap() };
        payload.sandbox.install_by_hand(OLD.parse().unwrap()).unwrap();
        let program = format!("unit = \"payload.service\"\n{program}");
        payload.sandbox.configure(&program, &format!("[trial]\n{trial}")).unwrap();
        payload.install_systemd();
        payload.sandbox.start_daemon().unwrap();
        payload
    }

    pub(crate) fn systemd(&self) -> Systemd<'_> {
        Systemd::of(&self.sandbox)
    }

    fn install_systemd(&mut self) {
        self.systemd().install();
        for (name, value) in self.systemd().environment() {
            self.sandbox.set_environment(name, &value);
        }
        self.start_unit();
    }

    /// Has the unit started, or started again, by somebody else than the daemon.
    pub(crate) fn start_unit(&self) {
        let mut systemctl = self.systemd().systemctl(&["--no-block", "restart", "payload.service"]);
        assert!(systemctl.status().unwrap().success());
    }

    /// The machine starts again: the unit, and the daemon.
    pub(crate) fn reboot(&mut self) {
        self.start_unit();
        self.sandbox.reboot().unwrap();
    }

    /// Has systemd behave as its script says: `fails`, `waits`, `crashes` for versions, `refuse`
    /// and `hang` for verbs.
    pub(crate) fn systemd_has(&self, behaviour: &str, what: &str) {
        self.systemd().has(behaviour, what);
    }

    /// Waits until systemd hangs, for the n-th time that it is asked; only then may it be told not
    /// to.
    pub(crate) fn wait_until_hung(&self, times: usize) {
        let end = Instant::now() + Duration::from_secs(30);
        let hung =
            || fs::read_to_string(self.systemd().file("hung")).unwrap_or_default().lines().count();
        while hung() < times {
            assert!(Instant::now() < end, "systemd is not asked\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What systemd was asked to do.
    pub(crate) fn asked(&self, verb: &str) -> usize {
        self.systemd().asked(verb)
    }

    /// The version of the process that the unit runs, if it runs one.
    pub(crate) fn running(&self) -> Option<String> {
        let pid = fs::read_to_string(self.systemd().file("pid")).unwrap();
        let exe = format!("/proc/{}/exe", pid.trim());
        let output = Command::new(exe).arg("--version").output().ok()?;
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    /// What `uplift` with these arguments says, and its exit code.
    pub(crate) fn uplift(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.sandbox.command(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    /// Waits until the trial waits for this.
    pub(crate) fn wait_for_trial(&self, wanted: impl Fn(&TrialWait) -> bool) {
        let waits = |status: &Status| {
            status
                .upgrade
                .as_ref()
                .and_then(|upgrade| upgrade.waits_for.as_ref())
                .is_some_and(&wanted)
        };
        self.sandbox.wait_for_status(waits).unwrap();
    }

    /// A firmware file of the new version.
    pub(crate) fn firmware(&self) -> PathBuf {
        self.sandbox.firmware(NEW.parse().unwrap(), Some(100_000)).unwrap()
    }

    /// `uplift install` of the new version.
    pub(crate) fn install(&self) -> Child {
        let firmware = self.firmware();
        let mut command = self.sandbox.command(&["install", firmware.to_str().unwrap()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// An upgrade that ends; its report.
    pub(crate) fn upgrade(&self) -> Report {
        self.install().wait_with_output().unwrap();
        self.last_report()
    }

    /// An upgrade that fails; why.
    pub(crate) fn failure(&self) -> (Report, Failure) {
        let report = self.upgrade();
        let failure = report.failure.clone().unwrap_or_else(|| panic!("{report:?}"));
        (report, failure)
    }

    pub(crate) fn last_report(&self) -> Report {
        let output = self.sandbox.command(&["history", "--json"]).output().unwrap();
        let reports: Vec<Report> = serde_json::from_slice(&output.stdout).unwrap();
        reports.into_iter().next_back().unwrap_or_else(|| panic!("no report: {}", self.log()))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.sandbox.log("daemon")).unwrap_or_default()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.sandbox.power_off();
        // The unit's process, and programs that a daemon started and did not live to end.
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
            let is_ours = fs::read_link(process.path().join("exe"))
                .is_ok_and(|exe| exe.starts_with(self.sandbox.root()));
            if let Some(pid) = pid.filter(|_| is_ours) {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }
}

/// The kind of the last failure must be this.
pub(crate) fn assert_kind(failure: &Failure, kind: FailureKind, payload: &Payload) {
    assert_eq!(failure.kind, kind, "{failure}\n{}", payload.log());
}
