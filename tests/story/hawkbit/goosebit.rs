//! gooseBit itself upgrades a component of the payload that another updater installs.

use std::path::{Path, PathBuf};

use serde_json::json;
use uplift::model::{Outcome, Phase, Status};
use uplift_sim::signer::Signer;

use super::site::{DEVICE, LONG};
use crate::world::goosebit::Goosebit;
use crate::world::payload::Payload;
use crate::world::swu;
use crate::world::watched::Watched as _;

/// The updater keeps the version in the name of what it is handed, and beside it the file.
const INSTALL: &str = "cp \"$1\" \"$0/image\"; basename \"$1\" .fw | sed s/.*_// >\"$0/version\"";
const BACK: &str = "echo V01.00.00.00 >\"$0/version\"";
const OLD: &str = "V01.00.00.00";
/// As gooseBit has it of an archive.
const MODULE: &str = "modem.swu";

struct Site {
    payload: Payload,
    goosebit: Goosebit,
    signer: Signer,
}

impl Site {
    fn new(section: &str, more: &str) -> Self {
        let (goosebit, signer) =
            (Goosebit::start(), Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap());
        let sections = format!(
            "[component.modem]\nkind = \"command\"\nproduct = \"MODEM\"\nsuffix = \".fw\"\nisolate_commands = \"never\"\n\
             install = [\"/bin/sh\", \"-c\", {INSTALL:?}, \"ROOT/modem\", \"{{file}}\"]\n\
             revert = [\"/bin/sh\", \"-c\", {BACK:?}, \"ROOT/modem\"]\n\
             version_command = [\"/bin/cat\", \"ROOT/modem/version\"]\n{more}\n\
             [package]\n{}\n\
             [channel.hawkbit]\nserver = \"{}\"\ncontroller_id = \"{DEVICE}\"\nspread = \"0s\"\ncomponents = [\"modem\"]\n\
             names = \"chunk\"\nproducts = {{ \"{MODULE}\" = \"MODEM\" }}\n\
             attributes = {{ hw_boardname = \"default\", hw_revision = \"default.default\" }}\n{section}\n",
            signer.trusted_section(),
            goosebit.url()
        );
        let mut payload = Payload::setup().sections(&sections).stopped();
        std::fs::create_dir(payload.root().join("modem")).unwrap();
        std::fs::write(payload.root().join("modem/version"), OLD).unwrap();
        payload.start_daemon().unwrap();
        payload.start_channels().unwrap();
        let site = Self { payload, goosebit, signer };
        // It offers nothing to a device whose hardware it does not know.
        site.payload.wait_for("the attributes", || {
            site.goosebit.device(DEVICE)["sw_version"] == json!("1.0.0")
        });
        site
    }

    /// A sealed archive of this version with so many bytes in it; its number at gooseBit.
    fn upload(&self, version: &str, size: usize) -> u64 {
        let archive = self.archive(version, size);
        // It looks at the beginning, so the seal stands behind it.
        let [a, b, c] = [0, 1, 2].map(|at| version.split('.').nth(at).unwrap());
        let firmware = archive.with_file_name(format!("MODEM_V{a:0>2}.{b:0>2}.{c:0>2}.00.bin"));
        std::fs::rename(&archive, &firmware).unwrap();
        self.signer.seal_file(&firmware).unwrap();
        std::fs::rename(&firmware, &archive).unwrap();
        self.goosebit.upload(&archive).unwrap()
    }

    /// The same, and nobody has sealed it.
    fn archive(&self, version: &str, size: usize) -> PathBuf {
        let directory = self.payload.root().join(version);
        std::fs::create_dir(&directory).unwrap();
        let content = directory.join("content");
        std::fs::write(&content, vec![version.as_bytes()[0]; size]).unwrap();
        swu::wrap(&directory, MODULE, version, &content)
    }

    /// Waits until gooseBit has this of the device, and nothing is under way here.
    #[track_caller]
    fn ends(&self, state: &str, version: &str) -> String {
        let end = std::time::Instant::now() + LONG;
        let is_so = || {
            let known = self.goosebit.device(DEVICE);
            known["last_state"] == json!(state) && known["sw_version"] == json!(version)
        };
        while !is_so() {
            let log = std::fs::read_to_string(self.payload.log("channels")).unwrap();
            let known = self.goosebit.device(DEVICE);
            assert!(std::time::Instant::now() < end, "{known}: {log}\n{}", self.goosebit.log());
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let settled =
            |status: &Status| status.phase == Phase::Idle && status.unacknowledged.is_empty();
        self.payload.wait_for_status(settled).unwrap();
        self.goosebit.device_log(DEVICE)
    }

    fn runs(&self) -> String {
        std::fs::read_to_string(self.payload.root().join("modem/version")).unwrap().trim().into()
    }
}

#[test]
fn goosebit_installs_refuses_and_installs_again() {
    let site = Site::new("", "");
    let first = site.upload("2.0.0", 300_000);
    site.goosebit.assign(DEVICE, first);
    let log = site.ends("Finished", "2.0.0");
    assert_eq!(site.runs(), "V02.00.00.00");
    assert_eq!(site.payload.last_report().outcome, Outcome::Succeeded);
    assert!(log.contains("MODEM V02.00.00.00 runs"), "{log}");
    // A refusal: nothing is installed, and its log says why.
    let lower = site.upload("1.5.0", 10_000);
    site.goosebit.assign(DEVICE, lower);
    let log = site.ends("Error", "2.0.0");
    assert!(log.contains("downgrade"), "{log}");
    assert_eq!(site.runs(), "V02.00.00.00");
    // It offers nothing to a device that failed, until somebody says so.
    let next = site.upload("4.0.0", 10_000);
    site.goosebit.assign(DEVICE, next);
    site.goosebit.force_update(DEVICE);
    site.ends("Finished", "4.0.0");
    assert_eq!(site.runs(), "V04.00.00.00");
    let ends: Vec<Outcome> =
        site.payload.history().into_iter().map(|report| report.outcome).collect();
    assert_eq!(ends.len(), 3, "each once: {ends:?}");
}

#[test]
fn goosebit_hears_that_the_device_went_back() {
    let site = Site::new(
        "",
        "[component.modem.trial]\ndeadline = \"1s\"\nhealth_command = [\"/bin/false\"]",
    );
    let software = site.upload("2.0.0", 10_000);
    site.goosebit.assign(DEVICE, software);
    let log = site.ends("Error", "1.0.0");
    assert!(log.contains("unhealthy"), "{log}");
    assert_eq!(
        (site.payload.last_report().outcome, site.runs()),
        (Outcome::RolledBack, OLD.into())
    );
}

/// DL-2, DL-11: one URL for every file of the device, and a number that is only said again.
#[test]
fn dl_11_goosebit_offers_another_file_at_the_same_link_in_the_middle_of_a_download() {
    let size = 40 << 20;
    let mut site = Site::new("[transfer.http]\nrate_limit = \"8MiB\"", "");
    let (first, second) = (site.upload("2.0.0", size), site.upload("3.0.0", size));
    site.goosebit.assign(DEVICE, first);
    let has = |bytes: u64| {
        move |status: &Status| {
            status.upgrade.as_ref().is_some_and(|upgrade| upgrade.progress.done >= bytes)
        }
    };
    site.payload.wait_for_status(has(5 << 20)).unwrap();
    // The connection breaks, and before the rest is asked for another file is assigned.
    site.goosebit.stop();
    site.payload.kill_channels();
    site.goosebit.start_again();
    site.goosebit.assign(DEVICE, second);
    site.payload.start_channels().unwrap();
    site.ends("Finished", "3.0.0");
    assert_eq!(site.runs(), "V03.00.00.00");
    let installed = std::fs::read(site.payload.root().join("modem/image")).unwrap();
    let offered = std::fs::read(site.payload.root().join("3.0.0").join(MODULE)).unwrap();
    assert!(offered.starts_with(&installed) && installed.len() > size, "no mixed image");
    let outcomes: Vec<Outcome> =
        site.payload.history().into_iter().map(|report| report.outcome).collect();
    assert_eq!(outcomes.last(), Some(&Outcome::Succeeded), "{outcomes:?}");
}

#[test]
fn goosebit_hears_that_an_archive_has_no_seal() {
    let site = Site::new("", "");
    let software = site.goosebit.upload(&site.archive("2.0.0", 10_000)).unwrap();
    site.goosebit.assign(DEVICE, software);
    let log = site.ends("Error", "1.0.0");
    assert!(log.contains("the file has no seal"), "{log}");
    assert_eq!(site.runs(), OLD);
}
