//! The payload's systemd of one unit, the clock and the boots of its machine, and its rescue.

use std::fmt::Display;
use std::fs;
use std::process::Command;

use super::Payload;
use crate::world::systemd::Systemd;

/// What systemd runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The program at the path; the daemon is none of systemd's business.
    Program,
    /// The daemon, which is the program at the path.
    Daemon,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Program => "payload.service",
            Self::Daemon => "uplift.service",
        }
    }
}

impl Payload {
    pub(crate) fn systemd(&self) -> Systemd<'_> {
        Systemd::of(&self.sandbox)
    }

    pub(crate) fn install_systemd(&mut self) {
        self.systemd().install();
        for (name, value) in self.systemd().environment() {
            self.set_environment(name, &value);
        }
    }

    /// Has the unit started, or started again, by somebody else than the daemon.
    pub(crate) fn start_unit(&self) {
        let name = self.unit.expect("there is a unit").name();
        let mut systemctl = self.systemd().systemctl(&["--no-block", "restart", name]);
        assert!(self.with_config(&mut systemctl).status().unwrap().success());
    }

    /// Has systemd behave as its script says: `fails`, `waits`, `crashes` for versions, `refuse`
    /// and `hang` for verbs.
    pub(crate) fn systemd_has(&self, behaviour: &str, what: &str) {
        self.systemd().has(behaviour, what);
    }

    /// How often systemd was asked for what begins so.
    pub(crate) fn asked(&self, what: &str) -> usize {
        self.systemd().asked(what)
    }

    /// Waits until systemd hangs, for the n-th time that it is asked; only then may it be told not
    /// to.
    pub(crate) fn wait_until_hung(&self, times: usize) {
        let hung =
            || fs::read_to_string(self.systemd().file("hung")).unwrap_or_default().lines().count();
        self.wait_for("the question to systemd", || hung() >= times);
    }

    /// The version of the process that the unit runs, if it runs one.
    pub(crate) fn running(&self) -> Option<String> {
        let pid = fs::read_to_string(self.systemd().file("pid")).unwrap();
        let exe = format!("/proc/{}/exe", pid.trim());
        let output = Command::new(exe).arg("--version").output().ok()?;
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    /// The machine runs its n-th boot.
    pub(crate) fn boots(&self, number: impl Display) {
        fs::write(self.root().join("run/boot_id"), format!("boot-{number}\n")).unwrap();
    }

    /// So many seconds the machine has been running.
    pub(crate) fn clock(&self, seconds: u64) {
        fs::write(self.root().join("run/uptime"), format!("{seconds}.25 17.00\n")).unwrap();
    }

    /// `uplift-rescue`, run by another program if one is given.
    pub(crate) fn rescue(&self, wrapper: &[&str], call: &str) -> Command {
        let mut rescue = self.systemd().rescue(wrapper, call);
        self.with_config(&mut rescue);
        rescue
    }

    /// A call of the rescue that has nothing to complain about.
    pub(crate) fn call_rescue(&self, call: &str) {
        let output = self.rescue(&[], call).output().unwrap();
        assert!(output.status.success(), "{call}: {output:?}");
    }

    /// A systemd whose unit is the daemon runs it with this configuration.
    fn with_config<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if self.unit == Some(Unit::Daemon) {
            command.env("CONFIG", self.config());
        }
        command
    }
}
