//! The vendor's story from end to end: Assistant 2 offers a program for the microcontroller, the
//! computer takes it, stores it in the chip, has it copied, and reports.

use super::*;
use crate::world::payload::Transfer;

/// One payload, a program and a microcontroller: the product chooses.
fn setting(setting: Setting) -> Bench {
    Setting { has_link: true, ..setting }.start()
}

impl Bench {
    fn flies(&self, path: &Path, result: &str) -> Report {
        self.payload.aircraft(Transfer::Dcftp, path, &[]).hears(result);
        self.payload.status().unwrap().last.unwrap()
    }
}

#[test]
fn assistant_2_upgrades_the_microcontroller_by_its_product() {
    let bench = setting(Setting::default());
    bench.flies(&bench.file(NEW), "success");
    bench.runs(NEW);
    assert_eq!(bench.version().as_deref(), Some(NEW));
}

#[test]
fn assistant_2_hears_that_a_program_for_another_address_is_refused() {
    let bench = setting(Setting::default());
    let path = bench.file_of(NEW, &program(0x0800_0000, NEW));
    let report = bench.flies(&path, "failure");
    assert_eq!(report.failure.unwrap().kind, FailureKind::WrongMachine);
    assert_eq!(bench.chip.operations(), 0);
    bench.runs(OLD);
}

#[test]
fn assistant_2_hears_the_truth_after_a_cut_in_the_transfer_and_after_one_in_the_copy() {
    let bench = setting(Setting::default());
    let path = bench.file(NEW);
    bench.chip.cut(1000, Tear::Random);
    assert_eq!(bench.flies(&path, "failure").outcome, Outcome::Failed);
    bench.runs(OLD);
    let before = bench.chip.operations();
    bench.flies(&path, "success");
    let whole = bench.chip.operations() - before;
    bench.runs(NEW);
    let bench = setting(Setting::default());
    bench.chip.cut(whole - 100, Tear::Half);
    bench.flies(&bench.file(NEW), "success");
    let cuts = bench.chip.events().so_far();
    assert!(cuts.iter().any(|event| matches!(event, Event::Cut { .. })), "nothing was cut");
    bench.runs(NEW);
}

#[test]
fn assistant_2_hears_that_a_program_that_proved_nothing_went_back() {
    let bench = setting(Setting {
        lines: "trial = { deadline = \"1s\", health_command = [\"/bin/false\"] }",
        ..Setting::default()
    });
    let report = bench.flies(&bench.file(NEW), "failure");
    assert_eq!(report.outcome, Outcome::RolledBack);
    bench.runs(OLD);
}
