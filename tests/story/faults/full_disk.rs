//! The file system of the state is full, or can't be written at all. That of the program:
//! tests/story/swap.rs.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use uplift::model::{FailureKind, Outcome, Phase};

use super::story::{ROLLED_BACK, SUCCEEDED, TRIAL, UNIT, ending};
use crate::world::mounted::Mounted;
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

/// A payload whose state lies on a small disk of its own, which is unmounted after the payload
/// ended.
struct OnSmallDisk {
    // Before the payload, whose directory can't be removed with the disk in it.
    _mounted: Mounted,
    payload: Payload,
}

impl Drop for OnSmallDisk {
    fn drop(&mut self) {
        self.payload.kill_daemon();
    }
}

impl OnSmallDisk {
    fn new() -> Self {
        let mut payload = Payload::linked(UNIT, TRIAL);
        payload.kill_daemon();
        let mounted = Mounted::on(&payload.state(), &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]);
        payload.start_daemon().unwrap();
        Self { _mounted: mounted, payload }
    }

    fn ballast(&self) -> PathBuf {
        self.payload.state().join("ballast")
    }

    fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).unwrap();
        while ballast.write_all(&[0; 512]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

#[test]
fn a_state_that_can_not_be_written_for_want_of_space() {
    let disk = OnSmallDisk::new();
    let payload = &disk.payload;
    disk.fill();
    payload.plug_aircraft().hears("failure");
    payload.ends((Outcome::Failed, Some(FailureKind::NoSpace)), OLD);
    disk.make_room();
    payload.next_upgrade_works();
}

#[test]
fn a_disk_that_fills_after_the_swap_costs_no_success_and_no_report() {
    let mut disk = OnSmallDisk::new();
    disk.payload.systemd_has("hang", "restart");
    let aircraft = disk.payload.plug_aircraft();
    disk.payload.wait_until_hung(1);
    disk.fill();
    disk.payload.systemd_has("hang", "");
    disk.payload.dies_in(Phase::Restarting);
    aircraft.hears("success");
    disk.payload.ends(SUCCEEDED, NEW);
    // What could not be written is found out again, by each daemon until there is room.
    disk.payload.restart_daemon();
    disk.payload.ends(SUCCEEDED, NEW);
    disk.make_room();
    disk.payload.restart_daemon();
    disk.payload.ends(SUCCEEDED, NEW);
    disk.payload.restart_daemon();
    disk.payload.ends(SUCCEEDED, NEW);
    assert!(fs::read_to_string(disk.payload.state().join("history.json")).unwrap().contains(NEW));
}

#[test]
fn a_disk_that_fills_before_the_old_program_is_put_back() {
    let disk = OnSmallDisk::new();
    let payload = &disk.payload;
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Trial);
    disk.fill();
    payload.systemd_has("state", "failed");
    aircraft.hears("failure");
    let report = payload.history().remove(0);
    assert_eq!(ending(&report), ROLLED_BACK);
    assert_eq!(payload.reported_version().unwrap(), OLD);
    let failure = report.failure.unwrap().to_string();
    assert!(
        failure.contains("but was not restarted") && failure.contains("can't be written"),
        "{failure}"
    );
}

/// A good trial needs to write nothing beside the program: the new one runs, and nobody can put
/// another one there.
#[test]
fn a_program_directory_that_is_read_only_at_the_verdict() {
    let payload = Payload::linked(UNIT, TRIAL);
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Trial);
    let directory = payload.root().join("bin");
    let mounted = Mounted::on(&directory, &["--bind", directory.to_str().unwrap()]);
    mounted.remount("ro");
    payload.systemd_has("waits", "");
    payload.start_unit();
    aircraft.hears("success");
    payload.ends(SUCCEEDED, NEW);
    mounted.remount("rw");
    payload.next_upgrade_works();
}

#[test]
fn a_state_directory_that_is_read_only() {
    let mut payload = Payload::linked(UNIT, TRIAL);
    payload.kill_daemon();
    let state = payload.state();
    let mounted = Mounted::on(&state, &["--bind", state.to_str().unwrap()]);
    mounted.remount("ro");
    payload.start_daemon().unwrap();
    payload.plug_aircraft().hears("failure");
    payload.ends((Outcome::Failed, Some(FailureKind::InstallFailed)), OLD);
    let notices = payload.status().unwrap().notices;
    assert!(notices.iter().any(|notice| notice.contains("Read-only file system")), "{notices:?}");
    mounted.remount("rw");
    payload.next_upgrade_works();
}
