//! The payload's systemd of one unit, which is a script; the clock and the boots of its machine;
//! and the rescue that asks them.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use uplift_fixtures::{executable, systemd};

use super::Payload;

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
    /// Puts it there, for the daemon and for all others. Its unit runs nothing yet.
    pub(super) fn install_systemd(&mut self) {
        systemd::lay(&self.systemd()).unwrap();
        for (name, value) in self.environment() {
            self.set_environment(name, &value);
        }
    }

    fn systemd(&self) -> PathBuf {
        self.root().join("systemd")
    }

    /// A file of the script, which keeps there what its unit does and how it shall behave.
    pub(crate) fn systemd_file(&self, name: &str) -> PathBuf {
        self.systemd().join(name)
    }

    /// What a process needs to find systemd.
    fn environment(&self) -> systemd::Environment {
        systemd::environment(&self.systemd(), &self.program())
    }

    /// A process that finds systemd, and has the daemon's configuration if systemd runs the daemon.
    fn beside_systemd(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.envs(self.environment()).stdin(Stdio::null());
        if self.unit == Some(Unit::Daemon) {
            command.env("CONFIG", self.config());
        }
        command
    }

    /// Has the unit started, or started again, by somebody else than the daemon.
    pub(crate) fn start_unit(&self) {
        self.tell_systemd("restart");
    }

    /// Has the unit, whose process was killed, started if nobody else has: what `Restart=` does.
    pub(crate) fn unit_starts_again(&self) {
        self.tell_systemd("start");
    }

    fn tell_systemd(&self, verb: &str) {
        let name = self.unit.expect("there is a unit").name();
        let mut systemctl = self.beside_systemd(self.systemd_file("systemctl"));
        assert!(systemctl.args(["--no-block", verb, name]).status().unwrap().success());
    }

    /// Has systemd behave as its script says: `fails`, `waits`, `crashes` for versions, `refuse`
    /// and `hang` for verbs.
    pub(crate) fn systemd_has(&self, behaviour: &str, what: &str) {
        // In one step: systemd may be asked meanwhile.
        let (path, new) = (self.systemd_file(behaviour), self.systemd_file("new"));
        fs::write(&new, format!("{what}\n")).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Has this shell script answer whoever asks for the unit's log.
    pub(crate) fn systemd_has_journal(&self, script: &str) {
        let path = self.systemd_file("journalctl");
        fs::remove_file(&path).unwrap(); // a link to the one of all
        executable::write(&path, format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
    }

    /// How often systemd was asked for what begins so.
    pub(crate) fn asked(&self, what: &str) -> usize {
        let asked = fs::read_to_string(self.systemd_file("asked")).unwrap_or_default();
        asked.lines().filter(|line| line.starts_with(what)).count()
    }

    /// Waits until systemd hangs, for the n-th time that it is asked; only then may it be told not
    /// to.
    pub(crate) fn wait_until_hung(&self, times: usize) {
        let hung = || fs::read_to_string(self.systemd_file("hung")).unwrap_or_default();
        self.wait_for("the question to systemd", || hung().lines().count() >= times);
    }

    /// The version of the process that the unit runs, if it runs one.
    pub(crate) fn running(&self) -> Option<String> {
        let pid = fs::read_to_string(self.systemd_file("pid")).unwrap();
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
        let mut words = wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_uplift-rescue")]);
        let mut command = self.beside_systemd(words.next().unwrap());
        let run = self.root().join("run");
        command.args(words).arg(call).arg("--state").arg(self.state());
        command.arg("--boot-id").arg(run.join("boot_id")).arg("--uptime").arg(run.join("uptime"));
        command
    }

    /// A call of the rescue that has nothing to complain about.
    pub(crate) fn call_rescue(&self, call: &str) {
        let output = self.rescue(&[], call).output().unwrap();
        assert!(output.status.success(), "{call}: {output:?}");
    }
}
