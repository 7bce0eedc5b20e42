//! A payload whose daemon never speaks: a program on trial, the state that was left, a scripted
//! systemd, and the rescue.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use uplift::digest::program_digest;
use uplift::model::ProgramDigest;
use uplift_sim::sandbox::Sandbox;

use crate::world::systemd::Systemd;

pub(crate) const OLD: &str = "V01.00.00.00";
pub(crate) const NEW: &str = "V02.00.00.00";
/// Restart and trial have a minute each, and the rescue gives half a minute more.
pub(crate) const DEADLINE: u64 = 150;

pub(crate) struct Payload {
    pub(crate) sandbox: Sandbox,
}

impl Payload {
    /// The new program is at the path since boot 1, and on trial.
    pub(crate) fn on_trial(restart: &Value) -> Self {
        let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        let payload = Self { sandbox };
        let stage = payload.stage();
        fs::create_dir(&stage).unwrap();
        payload.sandbox.install_by_hand(OLD.parse().unwrap()).unwrap();
        fs::rename(payload.sandbox.program(), stage.join("payload.previous")).unwrap();
        payload.sandbox.install_by_hand(NEW.parse().unwrap()).unwrap();
        payload.install_systemd();
        payload.leave(&payload.state(restart));
        payload.boots("1");
        payload.clock(100);
        payload
    }

    fn stage(&self) -> PathBuf {
        self.sandbox.root().join("bin/.uplift")
    }

    fn systemd(&self) -> Systemd<'_> {
        Systemd::of(&self.sandbox)
    }

    fn install_systemd(&self) {
        let systemd = self.systemd();
        systemd.install();
        for (name, content) in [("state", "active"), ("invocation", "start-2"), ("starts", "2")] {
            systemd.has(name, content);
        }
        systemd.has_journal(
            r#"touch "$FAKE_SYSTEMD/log-asked"; printf '%s\n' '{"MESSAGE":"about to fail\nfailed"}'"#,
        );
    }

    /// What the daemon has left in `state.json`.
    pub(crate) fn state(&self, restart: &Value) -> Value {
        json!({
            "format": 1, "unacknowledged": [], "installed": null, "known_bad": [],
            "upgrade": {
                "phase": "trial",
                "upgrade": { "id": "the-upgrade", "began": "1970-01-01T00:00:00Z" },
                "swap": {
                    "package": { "program_digest": digest(&self.sandbox.program()) },
                    "old": digest(&self.stage().join("payload.previous")),
                    "origin": { "boot_id": "boot-1", "invocation": "start-1" },
                    "terms": { "program": self.sandbox.program(), "unit": "payload.service", "restart": restart,
                               "restart_deadline": 60_000, "deadline": 60_000, "boots": 3 },
                },
            },
        })
    }

    pub(crate) fn leave(&self, state: &Value) {
        fs::write(self.sandbox.state().join("state.json"), state.to_string()).unwrap();
    }

    /// The daemon has put the old program back, was about to restart it, and died; `phase` says how
    /// far it wrote that down.
    pub(crate) fn on_way_back(&self, phase: &str) {
        self.put_back_by_hand();
        let mut state: Value =
            serde_json::from_slice(&fs::read(self.sandbox.state().join("state.json")).unwrap())
                .unwrap();
        state["upgrade"]["phase"] = phase.into();
        state["upgrade"]["verdict"] = json!({ "failure": { "kind": "unhealthy", "sentence": "the daemon says so" }, "program_log": ["its last words"] });
        if phase == "restarting-back" {
            state["upgrade"]["swap"]["origin"]["invocation"] = "start-2".into();
        }
        self.leave(&state);
    }

    /// Old and new change places, without a word.
    pub(crate) fn put_back_by_hand(&self) {
        let (path, stage) = (self.sandbox.program(), self.stage());
        fs::rename(&path, stage.join("payload.failed")).unwrap();
        fs::rename(stage.join("payload.previous"), path).unwrap();
    }

    /// Waits until the rescue wants to know what the program logged: it has looked once by then,
    /// and holds no lock yet.
    pub(crate) fn wait_until_log_is_asked_for(&self) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !self.systemd().file("log-asked").exists() {
            assert!(std::time::Instant::now() < end, "nobody asks for the log");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// The daemon has concluded the trial.
    pub(crate) fn conclude(&self) {
        self.leave(&json!({ "format": 1, "upgrade": null }));
    }

    /// The machine runs its n-th boot.
    pub(crate) fn boots(&self, boot: &str) {
        fs::write(self.sandbox.root().join("run/boot_id"), format!("boot-{boot}\n")).unwrap();
    }

    /// So long it has been running.
    pub(crate) fn clock(&self, seconds: u64) {
        fs::write(self.sandbox.root().join("run/uptime"), format!("{seconds}.25 17.00\n")).unwrap();
    }

    pub(crate) fn systemd_has(&self, behaviour: &str, what: &str) {
        self.systemd().has(behaviour, what);
    }

    pub(crate) fn asked(&self, verb: &str) -> usize {
        self.systemd().asked(verb)
    }

    /// `uplift-rescue`, run by another program if one is given.
    pub(crate) fn command(&self, wrapper: &[&str], call: &str) -> Command {
        self.systemd().rescue(wrapper, call)
    }

    pub(crate) fn rescue(&self, call: &str) -> Output {
        self.command(&[], call).output().unwrap()
    }

    /// A call that has nothing to complain about.
    pub(crate) fn call(&self, call: &str) {
        let output = self.rescue(call);
        assert!(output.status.success(), "{call}: {output:?}");
    }

    /// `rescue.json`, if there is one.
    pub(crate) fn file(&self) -> Option<Value> {
        let text = fs::read(self.sandbox.state().join("rescue.json")).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// The version of the program at the path.
    pub(crate) fn at_path(&self) -> String {
        self.sandbox.reported_version().unwrap()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        // The unit's process.
        let pid = fs::read_to_string(self.systemd().file("pid"))
            .ok()
            .and_then(|pid| pid.trim().parse().ok());
        if let Some(pid) = pid.filter(|&pid| pid > 1) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
}

fn digest(path: &Path) -> ProgramDigest {
    program_digest(fs::File::open(path).unwrap()).unwrap()
}
