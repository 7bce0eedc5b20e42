//! How a task ends that does not go well: each code, by what really happens.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use uplift::model::{FailureKind, Outcome, Phase};
use uplift_sim::cloud::content::Content;
use uplift_sim::cloud::thingspanel::{Generation, Signed, Size, State, Task};
use uplift_sim::signer::Signer;

use super::{Site, of, v05};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

/// 1.1: -2 where a file does not come.
#[test]
fn tp_11_a_file_that_does_not_come_is_minus_2() {
    let site = Site::new(v05());
    for (url, part) in [
        (format!("{}/nothing/here.bin", site.server.url()), "no such file"),
        ("file:///etc/passwd".to_owned(), "none that can be fetched"),
        ("/only/a/path.bin".to_owned(), "`download_base` is not set"),
        (String::new(), "has no `url`"),
    ] {
        let task = Task { url: Some(url.clone()), ..site.task() };
        let desc = site.fails(&site.server.push(&task).unwrap(), -2);
        assert!(desc.contains(part), "{url}: {desc}");
        site.idle();
    }
    let id = site.server.push(&Task { size: Some(Size::Wrong), ..site.task() }).unwrap();
    site.fails(&id, -2);
    site.is_well_spoken();
}

/// 1.1, TP-6: -3 where it is not what it should be.
#[test]
fn tp_6_a_file_that_is_not_what_it_should_be_is_minus_3() {
    let mut site = Site::new(v05());
    let unsealed = content(&site.payload.firmware_of("V03.00.00.00", 10_000));
    let stranger = {
        let firmware = site.payload.firmware_of("V04.00.00.00", 10_000);
        let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        signer.seal_file(&firmware).unwrap();
        content(&firmware)
    };
    let other = {
        let firmware = site.payload.root().join("OTHER_V02.00.00.00.bin");
        fs::copy(site.payload.new_firmware(), &firmware).unwrap();
        site.signer.seal_file(&firmware).unwrap();
        content(&firmware)
    };
    for task in [
        Task { signed: Signed::Wrong, ..site.task() },
        Task { signed: Signed::Unknown, ..site.task() },
        Task::of("V03.00.00.00", unsealed),
        Task::of("V04.00.00.00", stranger),
        Task::of(NEW, other),
        // The platform's version is not that of the seal.
        Task { version: "v7.1".to_owned(), ..site.task() },
        // Nor is that of the file's name.
        Task { file_name: "PSDK_APPALIAS_V09.00.00.00.bin".to_owned(), ..site.task() },
    ] {
        let id = site.server.push(&task).unwrap();
        let desc = site.fails(&id, -3);
        assert!(!desc.is_empty());
        site.idle();
    }
    // After all of them what is right is installed.
    let id = site.server.push(&site.task()).unwrap();
    site.succeeds(&id);
}

/// 1.1: -4 where it can't be written.
#[test]
fn tp_11_a_program_that_can_t_be_replaced_is_minus_4() {
    let site = Site::new(v05());
    let (program, elsewhere) = (site.payload.program(), site.payload.root().join("elsewhere"));
    fs::rename(&program, &elsewhere).unwrap();
    symlink(&elsewhere, &program).unwrap();
    let id = site.server.push(&site.task()).unwrap();
    let desc = site.fails(&id, -4);
    assert!(desc.contains("symbolic link"), "{desc}");
    site.is_well_spoken();
}

/// 1.1: -1 where it is refused by rule.
#[test]
fn tp_11_what_is_refused_by_rule_is_minus_1() {
    let site = Site::new(v05());
    let lower = site.task_of("V00.09.00.00", 10_000);
    let desc = site.fails(&site.server.push(&lower).unwrap(), -1);
    assert!(desc.contains("V00.09.00.00"), "{desc}");
    site.idle();
    assert_eq!(site.payload.ending().1, Some(FailureKind::Downgrade));
}

/// 1.1: -1 after a roll-back, and the same again is not installed again.
#[test]
fn tp_11_a_program_that_is_rolled_back_is_minus_1_and_is_not_tried_again() {
    for generation in [Generation::V05, Generation::V1] {
        let setup = Payload::setup()
            .trial("window = \"0s\"\ndeadline = \"1s\"\nhealth_command = [\"/bin/false\"]");
        let mut site = Site::with(setup, of(generation), "");
        let id = site.server.push(&site.task()).unwrap();
        site.payload.restart_when_asked();
        site.payload.restart_when_asked();
        site.stands(&id, State::Failed);
        assert_eq!(site.last_word().0, "-1");
        assert_eq!(site.over().outcome, Outcome::RolledBack);
        assert!(!site.steps().contains(&100));
        let again = site.server.push(&site.task()).unwrap();
        site.fails(&again, -1);
        assert_eq!(site.over().failure.unwrap().kind, FailureKind::KnownBad);
        site.is_well_spoken();
    }
}

/// 1.1: what is put off waits without a message, and is done when it may be.
#[test]
fn tp_11_a_task_that_is_held_says_nothing_until_it_is_released() {
    let mut site = Site::new(v05());
    let held = site.payload.uplift(&["hold", "in the air"]);
    assert_eq!(held.0, Some(0), "{}", held.1);
    let id = site.server.push(&site.task()).unwrap();
    site.payload.wait_for_phase(Phase::Deferred);
    assert!(site.steps().iter().all(|step| (1..=85).contains(step)), "{:?}", site.steps());
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    assert_eq!(site.payload.uplift(&["release"]).0, Some(0));
    site.succeeds(&id);
}

/// The same of a container: it lies there as it came, and is unpacked once more when its time has
/// come.
#[test]
fn tp_11_a_container_that_is_held_is_unpacked_again() {
    let mut site = Site::new(v05());
    assert_eq!(site.payload.uplift(&["hold", "in the air"]).0, Some(0));
    let firmware = site.payload.new_firmware();
    let program = fs::read(&firmware).unwrap();
    site.signer.compress(&firmware).unwrap();
    let id = site.server.push(&Task::of(NEW, content(&firmware))).unwrap();
    site.payload.wait_for_phase(Phase::Deferred);
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    assert_eq!(site.payload.uplift(&["release"]).0, Some(0));
    site.succeeds(&id);
    assert!(fs::read(site.payload.program()).unwrap() == program);
}

/// 1.1: put off after it has come, it waits without a message, and -1 follows when that is over.
#[test]
fn tp_11_what_waits_for_its_time_is_minus_1_when_that_never_comes() {
    let setup = Payload::setup().sections(
        "[policy]\nlongest_wait = \"5s\"\nready_command = [\"test\", \"!\", \"-e\", \"ROOT/busy\"]\nisolate_commands = \"never\"\n",
    );
    let mut options = v05();
    options.way.rate = Some(300_000);
    let site = Site::with(setup, options, "");
    let id = site.server.push(&site.task()).unwrap();
    site.payload.wait_for_phase(Phase::Receiving);
    fs::write(site.payload.root().join("busy"), "").unwrap();
    site.payload.wait_for_phase(Phase::Deferred);
    let steps = site.steps();
    let desc = site.fails(&id, -1);
    assert!(!desc.is_empty());
    // Nothing was said between.
    let after: Vec<i64> = site.steps();
    assert!(after.len() <= steps.len() + 2, "{steps:?} {after:?}");
    site.is_well_spoken();
}

fn content(firmware: &Path) -> Content {
    Content::new(&fs::read(firmware).unwrap())
}

impl Site {
    /// Waits until the channel has nothing to do, so that the next task finds it so.
    fn idle(&self) {
        let is_idle = |status: &uplift::model::Status| {
            status.phase == Phase::Idle && status.unacknowledged.is_empty()
        };
        self.payload.wait_for_status(is_idle).unwrap();
    }
}
