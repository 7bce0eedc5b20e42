//! A payload whose daemon never speaks: a program on trial, and the state that was left.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uplift::digest::program_digest;
use uplift::model::ProgramDigest;

use crate::world::payload::{NEW, Payload};

/// Restart and trial have a minute each, and the rescue gives half a minute more.
pub(crate) const DEADLINE: u64 = 150;

impl Payload {
    /// The new program is at the path since boot 1, and on trial.
    pub(crate) fn on_trial(restart: &Value) -> Self {
        let payload = Self::setup().with_systemd().stopped();
        fs::create_dir(payload.stage()).unwrap();
        fs::rename(payload.program(), payload.previous()).unwrap();
        payload.install_by_hand(NEW.parse().unwrap()).unwrap();
        for (name, content) in [("state", "active"), ("invocation", "start-2"), ("starts", "2")] {
            payload.systemd_has(name, content);
        }
        payload.systemd_has_journal(
            r#"touch "$FAKE_SYSTEMD/log-asked"; printf '%s\n' '{"MESSAGE":"about to fail\nfailed"}'"#,
        );
        payload.leave(&payload.trial_state(restart));
        payload.boots(1);
        payload.clock(100);
        payload
    }

    /// What the daemon has left in `state.json`.
    pub(crate) fn trial_state(&self, restart: &Value) -> Value {
        json!({
            "format": 1, "unacknowledged": [], "installed": null, "known_bad": [],
            "upgrade": {
                "phase": "trial",
                "upgrade": { "id": "the-upgrade", "began": "1970-01-01T00:00:00Z" },
                "swap": {
                    "package": { "program_digest": digest(&self.program()) },
                    "old": digest(&self.previous()),
                    "origin": { "boot_id": "boot-1", "invocation": "start-1" },
                    "terms": { "program": self.program(), "unit": "payload.service", "restart": restart,
                               "restart_deadline": 60_000, "deadline": 60_000, "boots": 3 },
                },
            },
        })
    }

    pub(crate) fn leave(&self, state: &Value) {
        fs::write(self.state().join("state.json"), state.to_string()).unwrap();
    }

    /// The daemon has put the old program back, was about to restart it, and died; `phase` says how
    /// far it wrote that down.
    pub(crate) fn on_way_back(&self, phase: &str) {
        self.put_back_by_hand();
        let mut state: Value =
            serde_json::from_slice(&fs::read(self.state().join("state.json")).unwrap()).unwrap();
        state["upgrade"]["phase"] = phase.into();
        state["upgrade"]["verdict"] = json!({ "failure": { "kind": "unhealthy", "sentence": "the daemon says so" }, "program_log": ["its last words"] });
        if phase == "restarting-back" {
            state["upgrade"]["swap"]["origin"]["invocation"] = "start-2".into();
        }
        self.leave(&state);
    }

    /// Old and new change places, without a word.
    pub(crate) fn put_back_by_hand(&self) {
        fs::rename(self.program(), self.failed()).unwrap();
        fs::rename(self.previous(), self.program()).unwrap();
    }

    /// And again.
    pub(crate) fn undo_by_hand(&self) {
        fs::rename(self.program(), self.previous()).unwrap();
        fs::rename(self.failed(), self.program()).unwrap();
    }

    fn failed(&self) -> PathBuf {
        self.stage().join("payload.failed")
    }

    /// Waits until the rescue wants to know what the program logged: it has looked once by then,
    /// and holds no lock yet.
    pub(crate) fn wait_until_log_is_asked_for(&self) {
        self.wait_for("a question for the log", || self.systemd_file("log-asked").exists());
    }

    /// The daemon has concluded the trial.
    pub(crate) fn conclude(&self) {
        self.leave(&json!({ "format": 1, "upgrade": null }));
    }

    /// `rescue.json`, if there is one.
    pub(crate) fn rescue_file(&self) -> Option<Value> {
        let text = fs::read(self.state().join("rescue.json")).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// The version of the program at the path.
    pub(crate) fn at_path(&self) -> String {
        self.reported_version().unwrap()
    }
}

fn digest(path: &Path) -> ProgramDigest {
    program_digest(fs::File::open(path).unwrap()).unwrap()
}
