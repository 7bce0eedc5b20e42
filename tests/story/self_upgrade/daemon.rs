//! A payload whose program is the daemon: `uplift` runs from the path that it upgrades, as the unit
//! of a scripted systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::payload::{NEW, Payload};
use crate::world::running::Running;
use crate::world::watched::Watched as _;
use serde_json::Value;
use uplift::model::Report;
use uplift::model::version::Version;
use uplift_fixtures::elf::{Architecture, Program};
use uplift_sim::sandbox::PRODUCT;

/// Beyond every deadline of the trial, in seconds.
pub(crate) const LATE: u64 = 9999;

impl Payload {
    /// The daemon runs from its path.
    pub(crate) fn of_daemon() -> Self {
        let payload = Self::setup()
            .with_daemon_as_unit()
            .rescue_timer("uplift-rescue.timer")
            .program("restart = \"unit\"\nrestart_deadline = \"30s\"")
            .version("version = \"V01.00.00.00\"")
            .trial("window = \"200ms\"\ndeadline = \"30s\"")
            .stopped();
        objcopy(&["--strip-debug"], &payload.program());
        fs::copy(payload.program(), payload.old()).unwrap();
        payload.systemd_has_journal(r#"echo '{"MESSAGE":"thread main panicked"}'"#);
        payload.clock(100);
        payload.start_unit();
        payload
    }

    /// A copy of the daemon that was there first.
    fn old(&self) -> PathBuf {
        self.root().join("old")
    }

    pub(crate) fn old_is_at_path(&self) -> bool {
        fs::read(self.program()).unwrap() == fs::read(self.old()).unwrap()
    }

    /// The power is cut, and the machine starts: first the rescue, then the unit.
    pub(crate) fn boot(&mut self, number: u32) {
        self.power_off();
        self.boots(number);
        self.clock(9);
        self.call_rescue("boot");
        self.start_unit();
    }

    /// A daemon that is another program and does the same.
    pub(crate) fn good_daemon(&self) -> PathBuf {
        let (note, firmware) = (self.root().join("note"), self.daemon_file());
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
        fs::write(self.daemon_file(), program.bytes()).unwrap();
        self.daemon_file()
    }

    fn daemon_file(&self) -> PathBuf {
        self.root().join(format!("{PRODUCT}_{NEW}.bin"))
    }

    /// `uplift install`, which follows the upgrade to its report.
    pub(crate) fn install_daemon(&self, firmware: &Path) -> Running {
        self.wait_for("the daemon", || self.status().is_ok());
        self.install_file(firmware)
    }

    /// Installs, and waits until systemd has started the new daemon.
    pub(crate) fn swap_in(&self, firmware: &Path) -> Running {
        // What systemd writes last of a start.
        let invocation = || fs::read_to_string(self.systemd_file("invocation")).unwrap();
        let before = invocation();
        let client = self.install_daemon(firmware);
        self.wait_for("the restart", || invocation() != before);
        client
    }

    /// The report that the client waited for, and what it said.
    pub(crate) fn report(&self, client: Running) -> (Report, String) {
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let last = self.raw_history().pop().map(serde_json::from_value);
        let report = last.unwrap_or_else(|| panic!("no report: {said}")).unwrap();
        (report, said)
    }

    /// The reports, oldest first, be they such as this version can't read.
    pub(crate) fn raw_history(&self) -> Vec<Value> {
        let output = self.command(&["history", "--json"]).output().unwrap();
        let mut reports: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        reports.reverse();
        reports
    }
}

/// A copy of the daemon's binary.
fn objcopy(arguments: &[&str], to: &Path) {
    let mut objcopy = Command::new("objcopy");
    let status = objcopy.args(arguments).arg(env!("CARGO_BIN_EXE_uplift")).arg(to).status();
    assert!(status.expect("objcopy can't be run; `tests/run` installs it").success());
}
