//! A systemd of one unit, which is a script, and the rescue that asks it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use uplift_fixtures::executable;
use uplift_sim::sandbox::Sandbox;

/// A sandbox's systemd. What the script keeps and how it is told to behave is in a directory.
pub(crate) struct Systemd<'a> {
    sandbox: &'a Sandbox,
}

impl<'a> Systemd<'a> {
    pub(crate) fn of(sandbox: &'a Sandbox) -> Self {
        Self { sandbox }
    }

    /// Puts it there. Its unit runs nothing yet.
    pub(crate) fn install(&self) {
        fs::create_dir(self.directory()).unwrap();
        for program in ["systemctl", "journalctl"] {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world").join(program);
            std::os::unix::fs::symlink(script, self.file(program)).unwrap();
        }
        for (name, content) in [
            ("state", "inactive"),
            ("pid", "0"),
            ("invocation", ""),
            ("starts", "0"),
            ("restarts", "0"),
        ] {
            fs::write(self.file(name), content).unwrap();
        }
    }

    fn directory(&self) -> PathBuf {
        self.sandbox.root().join("systemd")
    }

    /// A file of the script.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Has this shell script answer whoever asks for the unit's log.
    pub(crate) fn has_journal(&self, script: &str) {
        let path = self.file("journalctl");
        fs::remove_file(&path).unwrap(); // a link to the one of all
        executable::write(&path, format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
    }

    /// Has it behave as the script says: `fails`, `waits`, `crashes` for versions, `refuse` and
    /// `hang` for verbs.
    pub(crate) fn has(&self, behaviour: &str, what: &str) {
        fs::write(self.file(behaviour), format!("{what}\n")).unwrap();
    }

    /// How often it was asked for what begins so.
    pub(crate) fn asked(&self, what: &str) -> usize {
        let asked = fs::read_to_string(self.file("asked")).unwrap_or_default();
        asked.lines().filter(|line| line.starts_with(what)).count()
    }

    /// What a process needs to find it.
    pub(crate) fn environment(&self) -> [(&'static str, String); 3] {
        let directory = self.directory();
        [
            ("PATH", format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())),
            ("FAKE_SYSTEMD", directory.display().to_string()),
            ("PROGRAM", self.sandbox.program().display().to_string()),
        ]
    }

    /// `systemctl`, asked by somebody else than the daemon.
    pub(crate) fn systemctl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.file("systemctl"));
        command.args(words).envs(self.environment()).stdin(Stdio::null());
        command
    }

    /// `uplift-rescue`, run by another program if one is given.
    pub(crate) fn rescue(&self, wrapper: &[&str], call: &str) -> Command {
        let mut words = wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_uplift-rescue")]);
        let mut command = Command::new(words.next().unwrap());
        let run = self.sandbox.root().join("run");
        command.args(words).arg(call).arg("--state").arg(self.sandbox.state());
        command.arg("--boot-id").arg(run.join("boot_id")).arg("--uptime").arg(run.join("uptime"));
        command.envs(self.environment()).stdin(Stdio::null());
        command
    }
}
