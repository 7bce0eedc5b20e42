//! The version that is told is the one of the program at the path, or none, whatever becomes of the
//! files that know it.

use std::fs;

use uplift::model::{FailureKind, Installed, Outcome, Phase};

use super::by_hand::BY_HAND;
use super::story::{TRIAL, UNIT};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

/// A program that can't be asked for its version: the configuration tells that of the first one.
fn silent() -> Payload {
    Payload::unit_setup(UNIT, TRIAL).version("version = \"V01.00.00.00\"").start()
}

impl Payload {
    fn installed(&self) -> Installed {
        self.status().unwrap().components.remove(0)
    }

    fn told_version(&self) -> Option<String> {
        self.installed().version.map(|version| version.to_string())
    }

    /// The kind of failure with which a file of this version is refused.
    fn refuses(&self, version: &str) -> Option<FailureKind> {
        let firmware = self.firmware_of(version, 50_000);
        self.uplift(&["install", firmware.to_str().unwrap()]);
        self.last_report().failure.map(|failure| failure.kind)
    }

    /// The daemon starts again without these files of its state.
    fn loses(&mut self, files: &[&str]) {
        self.kill_daemon();
        files.iter().for_each(|file| fs::remove_file(self.state().join(file)).unwrap());
        self.start_daemon().unwrap();
    }
}

#[test]
fn of_a_failed_program_that_could_not_be_taken_away_its_own_version_is_told() {
    let mut payload = silent();
    assert_eq!(payload.told_version().as_deref(), Some(OLD));
    payload.systemd_has("waits", NEW);
    let client = payload.install();
    payload.wait_for_phase(Phase::Trial);
    fs::remove_file(payload.previous()).unwrap();
    payload.systemd_has("state", "failed");
    client.wait_with_output().unwrap();
    assert_eq!(payload.last_report().outcome, Outcome::Failed);
    for _ in 0..2 {
        assert_eq!(payload.reported_version().unwrap(), NEW);
        assert_eq!(payload.told_version().as_deref(), Some(NEW));
        payload.restart_daemon();
    }
}

#[test]
fn what_the_history_knows_comes_back_when_the_state_is_lost() {
    let mut payload = silent();
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
    payload.systemd_has("fails", "V03.00.00.00");
    assert_eq!(payload.refuses("V03.00.00.00"), Some(FailureKind::Unhealthy));
    payload.systemd_has("fails", "");
    let before = payload.status().unwrap();
    payload.loses(&["state.json"]);
    for told in [true, false] {
        let status = payload.status().unwrap();
        assert_eq!(
            status.notices.iter().any(|notice| notice.contains("come from history.json")),
            told,
            "{:?}",
            status.notices
        );
        assert_eq!(status.components[0], before.components[0]);
        assert_eq!(
            (&status.components[0].known_bad, status.components[0].minimum_version),
            (&before.components[0].known_bad, before.components[0].minimum_version)
        );
        assert_eq!(payload.refuses("V01.05.00.00"), Some(FailureKind::Downgrade));
        assert_eq!(payload.refuses("V03.00.00.00"), Some(FailureKind::KnownBad));
        payload.restart_daemon();
    }
    assert_eq!(before.components[0].version.unwrap().to_string(), NEW);
}

#[test]
fn a_version_that_nothing_proves_any_more_is_not_told() {
    let mut payload = silent();
    payload.upgrade();
    payload.loses(&["state.json", "history.json"]);
    for _ in 0..2 {
        assert_eq!(payload.told_version(), None, "the configuration speaks of another program");
        payload.restart_daemon();
    }
    payload.next_upgrade_works();
    assert_eq!(payload.told_version().as_deref(), Some("V03.00.00.00"));
    // The one before is still the one that nobody knows.
    let (code, said) = payload.uplift(&["rollback", "--yes"]);
    assert_eq!((code, payload.told_version()), (Some(0), None), "{said}");
}

/// Whoever can send an unsealed file must not decide what is let in for ever.
#[test]
fn the_highest_of_all_versions_locks_nothing_when_it_is_taken_back() {
    let payload = Payload::with_trial(UNIT, TRIAL);
    let firmware = payload.firmware_of("V99.99.99.99", 50_000);
    assert_eq!(payload.uplift(&["install", firmware.to_str().unwrap()]).0, Some(0));
    assert_eq!(payload.status().unwrap().components[0].minimum_version, None);
    assert_eq!(payload.uplift(&["rollback", "--yes"]).0, Some(0));
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
    let (code, said) = payload.uplift(&["forget", "--minimum-version"]);
    assert_eq!((code, said.trim()), (Some(0), "there is no lowest version: nothing was forgotten"));
}

#[test]
fn a_program_that_was_replaced_by_hand_is_seen_when_an_upgrade_begins() {
    let payload = Payload::with_trial(UNIT, TRIAL);
    assert_eq!(payload.told_version().as_deref(), Some(OLD));
    payload.replace_by_hand();
    assert_eq!(payload.refuses(NEW), Some(FailureKind::Downgrade));
    assert_eq!(payload.told_version().as_deref(), Some(BY_HAND));
}
