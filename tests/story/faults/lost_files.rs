//! Files of the state that are lost, damaged or from another version, in the middle of an upgrade.

use std::fs;

use uplift::model::{FailureKind, Outcome, Phase};

use super::story::{ROLLED_BACK, SUCCEEDED, TRIAL, UNIT, ending};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::running::Running;
use crate::world::watched::Watched as _;

/// What becomes of a file; nothing when it is lost.
type Damage = fn(&[u8]) -> Option<Vec<u8>>;

const LOST: Damage = |_| None;
/// As a version wrote it that had no checksum, and with a field that is not known.
const FIRST_FORMAT: Damage = |whole| {
    let mut value: serde_json::Value = serde_json::from_slice(whole).unwrap();
    value.as_object_mut().unwrap().remove("crc32").unwrap();
    value["format"] = 1.into();
    value["of_another_version"] = 1.into();
    Some(value.to_string().into_bytes())
};
/// One bit of the boot in which the swap took place has flipped: by what the file says there was a
/// restart since.
const FLIPPED: Damage = |whole| {
    Some(String::from_utf8_lossy(whole).replace("sandbox-boot-1", "sandbox-boot-3").into_bytes())
};
/// The file says that it has a checksum.
const UNCHECKED: Damage =
    |whole| Some(String::from_utf8_lossy(whole).replace("crc32", "crc33").into_bytes());
const DAMAGES: [(&str, Damage); 4] = [
    ("cut", |whole| Some(whole[..whole.len() / 2].to_vec())),
    ("empty", |_| Some(Vec::new())),
    ("zeros", |whole| Some(vec![0; whole.len()])),
    ("another's", |_| Some(b"{\"speed\": 3}\n".to_vec())),
];

impl Payload {
    /// While no daemon runs; what is left of the file.
    fn damage(&self, name: &str, damage: Damage) -> Option<Vec<u8>> {
        let path = self.state().join(name);
        let damaged = damage(&fs::read(&path).unwrap());
        match &damaged {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        damaged
    }

    /// The damaged file lies beside its place as it was, and the daemon says so.
    fn sets_aside(&self, name: &str, damaged: Option<&[u8]>) {
        let notices = self.status().unwrap().notices;
        let told =
            notices.iter().any(|notice| notice.contains(name) && notice.contains("was set aside"));
        assert_eq!(told, damaged.is_some(), "{notices:?}");
        assert_eq!(fs::read(self.state().join(format!("{name}.damaged"))).ok().as_deref(), damaged);
    }
}

/// A new program that is at the path and about to be restarted into, and whoever asked for it.
fn swapped() -> (Payload, Running) {
    let payload = Payload::with_trial(UNIT, TRIAL);
    payload.systemd_has("hang", "restart");
    let client = payload.install();
    payload.wait_until_hung(1);
    (payload, client)
}

/// Nobody can say any more that the new program works: the old one comes back by the second copy of
/// the trial, which is there before the rescue has looked, and the end is reported.
fn state_is_lost(damage: Damage) {
    let (mut payload, client) = swapped();
    payload.kill_daemon();
    let damaged = payload.damage("state.json", damage);
    payload.systemd_has("hang", "");
    payload.reboot();
    payload.sets_aside("state.json", damaged.as_deref());
    assert_eq!(client.wait_with_output().unwrap().status.code(), Some(1));
    let report = payload.ends((Outcome::RolledBack, Some(FailureKind::Interrupted)), OLD);
    assert!(report.failure.unwrap().sentence.contains("was lost or damaged"));
    payload.next_upgrade_works();
}

#[test]
fn a_state_file_that_is_lost() {
    state_is_lost(LOST);
}

#[test]
fn a_state_file_that_is_damaged() {
    for (_, damage) in DAMAGES {
        state_is_lost(damage);
    }
}

#[test]
fn a_state_file_that_is_lost_and_no_daemon_that_starts_again() {
    let (mut payload, client) = swapped();
    payload.kill_daemon();
    payload.damage("state.json", LOST);
    payload.systemd_has("hang", "");
    payload.start_unit();
    assert_eq!(payload.running().as_deref(), Some(NEW));
    payload.rescued_at(100);
    payload.rescued_at(9_000);
    assert_eq!(payload.running().as_deref(), Some(OLD), "the rescue had not looked before");
    payload.start_daemon().unwrap();
    assert_eq!(client.wait_with_output().unwrap().status.code(), Some(1));
    payload.ends(ROLLED_BACK, OLD);
}

#[test]
fn a_way_back_by_hand_whose_state_is_lost() {
    let mut payload = Payload::with_trial(UNIT, TRIAL);
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
    payload.systemd_has("hang", "restart");
    let mut client = payload.spawn(&["rollback", "--yes"]);
    payload.wait_until_hung(1);
    payload.kill_daemon();
    payload.damage("state.json", LOST);
    payload.systemd_has("hang", "");
    payload.start_daemon().unwrap();
    client.wait().unwrap();
    payload.wait_until_settled().unwrap();
    assert_eq!(payload.ending(), (Outcome::RolledBack, Some(FailureKind::Interrupted)));
    assert_eq!(payload.running().as_deref(), Some(OLD), "it was not restarted before");
}

#[test]
fn a_trial_that_has_no_second_copy_does_not_begin() {
    let payload = Payload::with_trial(UNIT, TRIAL);
    let in_the_way = payload.state().join("rescue.json");
    fs::create_dir_all(in_the_way.join("another's")).unwrap();
    assert!(!payload.install().wait_with_output().unwrap().status.success());
    let report = payload.ends((Outcome::Failed, Some(FailureKind::InstallFailed)), OLD);
    assert!(report.failure.unwrap().sentence.contains("second copy"));
    fs::remove_dir_all(in_the_way).unwrap();
    payload.next_upgrade_works();
}

/// With state and history lost, a copy that was left would take away a program that works.
#[test]
fn no_copy_outlives_its_trial() {
    let copy = |payload: &Payload| payload.state().join("rescue.json");
    let payload = Payload::with_trial(UNIT, TRIAL);
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
    assert!(!copy(&payload).exists());
    // A daemon that dies before it has removed the copy leaves that to the next one.
    let (mut killed, client) = swapped();
    let left = fs::read(copy(&killed)).unwrap();
    killed.kill_daemon();
    killed.systemd_has("hang", "");
    killed.reboot();
    assert!(client.wait_with_output().unwrap().status.success());
    killed.kill_daemon();
    fs::write(copy(&killed), left).unwrap();
    fs::write(killed.state().join("rescue.json.new"), "half").unwrap();
    killed.start_daemon().unwrap();
    assert!(!copy(&killed).exists() && !killed.state().join("rescue.json.new").exists());
    for mut payload in [payload, killed] {
        payload.kill_daemon();
        for name in ["state.json", "history.json"] {
            fs::remove_file(payload.state().join(name)).unwrap();
        }
        payload.start_daemon().unwrap();
        assert_eq!(payload.running().as_deref(), Some(NEW));
        assert!(payload.history().is_empty());
    }
}

#[test]
fn a_state_file_of_another_version() {
    let (mut payload, client) = swapped();
    payload.kill_daemon();
    payload.damage("state.json", FIRST_FORMAT);
    payload.systemd_has("hang", "");
    payload.reboot();
    payload.sets_aside("state.json", None);
    payload.wait_until_settled().unwrap();
    assert_eq!(payload.ending(), SUCCEEDED);
    client.wait_with_output().unwrap();
    payload.next_upgrade_works();
}

#[test]
fn a_flipped_bit_in_the_state_of_a_trial_is_no_restart() {
    for damage in [FLIPPED, UNCHECKED, LOST] {
        let (mut payload, client) = on_trial_alone();
        payload.rescued_at(100);
        let damaged = payload.damage("state.json", damage);
        payload.systemd_has("waits", "");
        payload.start_daemon().unwrap();
        payload.sets_aside("state.json", damaged.as_deref());
        assert_eq!(client.wait_with_output().unwrap().status.code(), Some(1));
        let report = payload.ends((Outcome::RolledBack, Some(FailureKind::Interrupted)), OLD);
        assert!(report.failure.unwrap().sentence.contains("was lost or damaged"));
        payload.next_upgrade_works();
    }
}

#[test]
fn a_history_that_is_lost_or_damaged() {
    let mut payload = Payload::with_trial(UNIT, TRIAL);
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
    let whole = fs::read(payload.state().join("history.json")).unwrap();
    for (what, damage) in DAMAGES.into_iter().chain([("lost", LOST)]) {
        payload.kill_daemon();
        let _ = fs::remove_file(payload.state().join("history.json.damaged"));
        fs::write(payload.state().join("history.json"), &whole).unwrap();
        let damaged = payload.damage("history.json", damage);
        payload.start_daemon().unwrap();
        payload.sets_aside("history.json", damaged.as_deref());
        assert!(payload.history().is_empty(), "{what}");
        assert_eq!(
            payload.status().unwrap().components[0].version.unwrap().to_string(),
            NEW,
            "{what}: the state is whole"
        );
    }
    payload.next_upgrade_works();
    assert_eq!(payload.history().len(), 1);
}

/// A trial that no daemon watches.
fn on_trial_alone() -> (Payload, Running) {
    let mut payload = Payload::with_trial(UNIT, TRIAL);
    payload.systemd_has("waits", NEW);
    let client = payload.install();
    payload.wait_for_phase(Phase::Trial);
    payload.kill_daemon();
    (payload, client)
}

#[test]
fn a_file_of_the_rescue_that_is_damaged() {
    let (mut payload, client) = on_trial_alone();
    payload.rescued_at(100);
    for (what, damage) in DAMAGES {
        payload.damage("rescue.json", damage);
        payload.start_daemon().unwrap();
        assert_eq!(
            payload.status().unwrap().phase,
            Phase::Trial,
            "{what}: a verdict that can't be read is none"
        );
        payload.kill_daemon();
        // The rescue begins it anew.
        payload.rescued_at(100);
    }
    payload.start_daemon().unwrap();
    payload.systemd_has("waits", "");
    payload.start_unit();
    assert!(client.wait_with_output().unwrap().status.success());
    payload.ends(SUCCEEDED, NEW);
}

#[test]
fn a_file_of_the_rescue_that_is_lost_after_it_rolled_back() {
    for lost in [false, true] {
        let (mut payload, client) = on_trial_alone();
        payload.rescued_at(100);
        payload.rescued_at(9_000);
        assert_eq!(payload.running().as_deref(), Some(OLD));
        if lost {
            payload.damage("rescue.json", LOST);
        }
        payload.start_daemon().unwrap();
        assert_eq!(client.wait_with_output().unwrap().status.code(), Some(1));
        // Without the verdict nobody knows why; that it is rolled back is seen all the same.
        let expected =
            if lost { (Outcome::RolledBack, Some(FailureKind::Interrupted)) } else { ROLLED_BACK };
        assert_eq!(ending(&payload.history()[0]), expected);
        assert_eq!(payload.status().unwrap().components[0].known_bad.is_empty(), lost);
    }
}
