//! A microcontroller beside the payload's computer, a simulated chip on a pseudo-terminal: what a
//! person and the aircraft see of its upgrades, and what its flash holds then.

mod aircraft;
mod phases;
mod pins;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uplift::model::{FailureKind, Outcome, Phase, Report, RunningEvidence};
use uplift_boot::Map;
use uplift_sim::mcu::{Bootloader, Event, Fault, Mcu, Options, Tear};

use uplift_sim::signer::Signer;

use crate::world::payload::{NEW, OLD, Payload};
use crate::world::programs::uplift_sim;
use crate::world::watched::Watched as _;

const NEXT: &str = "V03.00.00.00";
/// How long the chip may take to show something.
const PATIENCE: Duration = Duration::from_secs(180);

/// A payload with a motor's microcontroller.
struct Bench {
    payload: Payload,
    chip: Mcu,
    base: u32,
}

/// What the chip is like, and further lines of the configuration.
#[derive(Default)]
struct Setting {
    options: Options,
    lines: &'static str,
    more: String,
    has_link: bool,
}

impl Setting {
    fn with(fault: Fault) -> Self {
        Self { options: Options { faults: vec![fault], ..Options::default() }, ..Self::default() }
    }

    fn start(self) -> Bench {
        let base = base(self.options.bootloader);
        let section = format!(
            "{}\n[package]\nallow_unproven_end = true\n{}\n",
            section(self.lines),
            self.more
        );
        let mut setup = Payload::setup().sections(&section);
        if self.has_link {
            setup = setup.link("921600", None);
        }
        let mut payload = setup.stopped();
        if self.has_link {
            payload.edit_config(|text| {
                text.replace(
                    "[channel.psdk]\n",
                    "[channel.psdk]\ncomponents = [\"program\", \"motor\"]\nversion_of = \"motor\"\n",
                )
            });
        }
        let chip = chip(&payload, self.options);
        payload.start_daemon().unwrap();
        Bench { payload, chip, base }
    }
}

/// The component, with further lines, whose pins the simulated chip's own program sets.
pub(crate) fn section(lines: &str) -> String {
    format!(
        "[component.motor]\nkind = \"stm32\"\nproduct = \"MOTOR\"\nport = \"ROOT/run/ttyMotor\"\ncopy_deadline = \"1s\"\n\
         entry = {{ command = [\"/bin/sh\", \"-c\", {script:?}, \"{sim}\", \"ROOT/run/chip\"] }}\n{lines}\n",
        script = "[ $2 = loader ]; exec \"$0\" mcu-control \"$1\" reset $((1 - $?))",
        sim = uplift_sim().display(),
    )
}

fn base(bootloader: Bootloader) -> u32 {
    match bootloader {
        Bootloader::None => 0x0800_0000,
        _ => Map::SEED.application.address,
    }
}

/// The chip of that component, with the old program.
pub(crate) fn chip(payload: &Payload, options: Options) -> Mcu {
    let base = base(options.bootloader);
    let options = Options {
        content: vec![(base, program(base, OLD))],
        control: Some(payload.root().join("run/chip")),
        ..options
    };
    Mcu::start(payload.root().join("run/ttyMotor"), options).unwrap()
}

/// A file for a chip with a bootloader.
pub(crate) fn file(payload: &Payload, version: &str) -> PathBuf {
    let path = payload.root().join(format!("MOTOR_{version}.bin"));
    fs::write(&path, program(Map::SEED.application.address, version)).unwrap();
    path
}

/// The version of the program where a chip with a bootloader runs it.
#[track_caller]
pub(crate) fn runs(chip: &Mcu, version: &str) {
    runs_at(chip, Map::SEED.application.address, version);
}

#[track_caller]
fn runs_at(chip: &Mcu, base: u32, version: &str) {
    let (flash, program) = (chip.flash(), program(base, version));
    let at = (base - 0x0800_0000) as usize;
    assert!(flash[at..at + program.len()] == program, "{version} is not there");
    // And it was started, not left in the loader.
    let events = chip.events().so_far();
    let last = events.iter().rev().find(|event| matches!(event, Event::Reset { .. }));
    assert!(matches!(last, Some(Event::Reset { boot0: false, .. })), "{last:?}");
}

/// A program for this address that is told apart by its version.
pub(crate) fn program(base: u32, version: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = version.bytes().cycle().take(20_001).collect();
    bytes[..4].copy_from_slice(&0x2001_FFFC_u32.to_le_bytes());
    bytes[4..8].copy_from_slice(&(base + 0x101).to_le_bytes());
    bytes
}

impl Bench {
    fn file(&self, version: &str) -> PathBuf {
        self.file_of(version, &program(self.base, version))
    }

    fn file_of(&self, version: &str, bytes: &[u8]) -> PathBuf {
        let path = self.payload.root().join(format!("MOTOR_{version}.bin"));
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Installs at the shell: what a person reads, and the report.
    fn install(&self, version: &str) -> (String, Report) {
        self.install_file(&self.file(version))
    }

    fn install_file(&self, path: &Path) -> (String, Report) {
        let (_, text) = self.payload.uplift(&["install", path.to_str().unwrap()]);
        (text, self.payload.status().unwrap().last.unwrap())
    }

    /// The version of the program where the chip runs it.
    #[track_caller]
    fn runs(&self, version: &str) {
        runs_at(&self.chip, self.base, version);
    }

    fn version(&self) -> Option<String> {
        self.payload.component("motor").version.map(|version| version.to_string())
    }
}

#[test]
fn a_program_is_installed_over_the_store_and_the_one_before_comes_back() {
    for (bootloader, lines) in [
        (Bootloader::Uplift, ""),
        (Bootloader::Vendor, "bootloader = \"vendor\""),
        (Bootloader::None, "mode = \"direct\""),
    ] {
        let options = Options { bootloader, ..Options::default() };
        let bench = Setting { options, lines, ..Setting::default() }.start();
        let (text, report) = bench.install(NEW);
        assert_eq!(report.outcome, Outcome::Succeeded, "{text}\n{report:?}");
        assert!(text.contains("the microcontroller showed the program after a reset"), "{text}");
        assert_eq!(report.evidence.unwrap().running, RunningEvidence::ReadBack);
        bench.runs(NEW);
        assert_eq!(bench.version().as_deref(), Some(NEW));
        let (_, text) = bench.payload.uplift(&["rollback", "--component", "motor", "--yes"]);
        let report = bench.payload.status().unwrap().last.unwrap();
        assert_eq!(report.outcome, Outcome::RolledBack, "{text}");
        bench.runs(OLD);
        // What went is not taken again.
        let (_, report) = bench.install(NEW);
        assert_eq!(report.failure.unwrap().kind, FailureKind::KnownBad);
        assert_eq!(bench.install(NEXT).1.outcome, Outcome::Succeeded);
        bench.runs(NEXT);
    }
}

/// ST-6: before the chip is asked for anything.
#[test]
fn a_file_that_the_chip_would_never_start_is_refused_before_it_is_touched() {
    let vendor = Setting {
        options: Options { bootloader: Bootloader::Vendor, ..Options::default() },
        lines: "bootloader = \"vendor\"",
        ..Setting::default()
    };
    let bench = vendor.start();
    let mut high = program(bench.base, NEW);
    high[..4].copy_from_slice(&0x2002_0000_u32.to_le_bytes());
    let elsewhere = program(0x0800_0000, NEW);
    for (bytes, sentence, hint) in [
        (high, "would copy it and never start it", "_estack"),
        (elsewhere, "reset vector", "0x08010000"),
        (b"\x7fELF and so on".to_vec(), "no stack", "objcopy"),
    ] {
        let path = bench.file_of(NEW, &bytes);
        for command in ["check", "install"] {
            let (code, text) = bench.payload.uplift(&[command, path.to_str().unwrap()]);
            assert_eq!(code, Some(1), "{text}");
            assert!(text.contains(sentence) && text.contains(hint), "{command}: {text}");
        }
        let failure = bench.payload.status().unwrap().last.unwrap().failure.unwrap();
        assert_eq!(failure.kind, FailureKind::WrongMachine);
    }
    assert_eq!(bench.chip.operations(), 0);
    let resets = bench.chip.events().so_far();
    assert!(!resets.iter().any(|event| matches!(event, Event::Reset { boot0: true, .. })));
}

/// ST-1, ST-3, ST-4.
#[test]
fn a_chip_that_is_not_the_one_that_is_meant_keeps_its_program() {
    let protected = Setting {
        options: Options { is_read_protected: true, ..Options::default() },
        ..Setting::default()
    };
    let other =
        Setting { options: Options { device: 0x419, ..Options::default() }, ..Setting::default() };
    for (setting, kind, sentence, hint) in [
        (Setting::with(Fault::Deaf), FailureKind::Timeout, "did not answer in 3 tries", "BOOT0"),
        (protected, FailureKind::InstallFailed, "read-out protection is on", "never removes"),
        (other, FailureKind::WrongMachine, "device id 0x419", "F405"),
    ] {
        let bench = setting.start();
        let (text, report) = bench.install(NEW);
        assert_eq!(report.outcome, Outcome::Failed, "{text}");
        let failure = report.failure.unwrap();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.sentence.contains(sentence), "{failure}");
        assert!(text.contains(sentence) && text.contains(hint), "{text}");
        assert_eq!(bench.chip.operations(), 0);
        bench.runs(OLD);
    }
}

/// ST-7: the power of the chip fails while the store is written, and while the program is copied.
#[test]
fn a_cut_leaves_the_old_program_or_the_bootloader_goes_on_with_the_new_one() {
    let whole = Setting::default().start();
    whole.install(NEW);
    let operations = whole.chip.operations();
    let in_the_transfer = Setting::default().start();
    in_the_transfer.chip.cut(1000, Tear::Random);
    let (text, report) = in_the_transfer.install(NEW);
    assert_eq!(report.outcome, Outcome::Failed, "{text}");
    assert!(report.failure.unwrap().sentence.contains("fell silent"), "{text}");
    in_the_transfer.runs(OLD);
    assert_eq!(in_the_transfer.install(NEW).1.outcome, Outcome::Succeeded);
    in_the_transfer.runs(NEW);
    // At the next reset the bootloader begins again, without a byte from a host.
    let in_the_copy = Setting::default().start();
    in_the_copy.chip.cut(operations - 100, Tear::Half);
    let (text, report) = in_the_copy.install(NEW);
    assert_eq!(report.outcome, Outcome::Succeeded, "{text}");
    let cuts = in_the_copy.chip.events().so_far();
    assert!(cuts.iter().any(|event| matches!(event, Event::Cut { .. })), "nothing was cut");
    in_the_copy.runs(NEW);
}

#[test]
fn a_program_that_proves_nothing_goes_back() {
    let ill = Setting {
        lines: "trial = { deadline = \"1s\", health_command = [\"/bin/false\"] }",
        ..Setting::default()
    };
    let bench = ill.start();
    let (text, report) = bench.install(NEW);
    assert_eq!(report.outcome, Outcome::RolledBack, "{text}");
    assert_eq!(report.failure.unwrap().kind, FailureKind::Unhealthy);
    bench.runs(OLD);
}

/// A slow line, so that there is a middle.
fn slow() -> Setting {
    Setting { options: Options { baud: Some(230_400), ..Options::default() }, ..Setting::default() }
}

impl Bench {
    /// Begins an upgrade, and waits until blocks of the store are written.
    fn in_the_transfer(&self) -> crate::world::running::Running {
        let client = self.payload.install_file(&self.file(NEW));
        let is_of_store = |event: &Event| matches!(event, Event::Wrote { address, .. } if *address > Map::SEED.store.address);
        assert!(self.chip.events().wait_for(PATIENCE, is_of_store).is_some());
        client
    }

    /// As by a power cut of the computer: nobody is left who works on the chip.
    fn cut_off(&mut self) {
        let begun = fs::read_to_string(self.payload.state().join("change/begun.json")).unwrap();
        let begun: serde_json::Value = serde_json::from_str(&begun).unwrap();
        let runner = i32::try_from(begun["runner"].as_i64().unwrap()).unwrap();
        self.payload.kill_daemon();
        kill(Pid::from_raw(runner), Signal::SIGKILL).unwrap();
    }

    fn next_report(&mut self) -> Report {
        let is_over =
            |status: &uplift::model::Status| status.phase == Phase::Idle && status.last.is_some();
        self.payload.wait_for_status(is_over).unwrap().last.unwrap()
    }
}

#[test]
fn a_daemon_that_is_killed_finds_the_work_going_on() {
    let mut bench = slow().start();
    let client = bench.in_the_transfer();
    bench.payload.kill_daemon();
    drop(client);
    bench.payload.start_daemon().unwrap();
    let report = bench.next_report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    bench.runs(NEW);
}

/// As by a power cut of the computer: nobody is left who works on the chip.
#[test]
fn a_computer_that_is_cut_off_in_the_transfer_leads_back_to_the_program_that_ran() {
    let mut bench = slow().start();
    bench.install(NEW);
    let path = bench.file(NEXT);
    let client = bench.payload.install_file(&path);
    let mut events = bench.chip.events();
    let seen = events.so_far().len();
    let is_of_store = |event: &Event| matches!(event, Event::Wrote { address, .. } if *address > Map::SEED.store.address);
    for _ in 0..seen {
        events.next(Duration::ZERO);
    }
    assert!(events.wait_for(PATIENCE, is_of_store).is_some());
    bench.cut_off();
    drop(client);
    bench.payload.start_daemon().unwrap();
    let is_of_next = |status: &uplift::model::Status| {
        status.last.as_ref().is_some_and(|last| last.outcome != Outcome::Succeeded)
    };
    let report = bench.payload.wait_for_status(is_of_next).unwrap().last.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert_eq!(report.failure.unwrap().kind, FailureKind::Interrupted);
    bench.runs(NEW);
}

/// The seal goes before the program, and does not come into the chip.
#[test]
fn a_sealed_program_is_taken_without_its_seal() {
    let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let more = format!("seal = \"required\"\n{}", signer.trusted_section());
    let bench = Setting { more, ..Setting::default() }.start();
    let (text, report) = bench.install(NEW);
    assert_eq!(report.failure.unwrap().kind, FailureKind::SealMissing, "{text}");
    let path = bench.file(NEW);
    signer.seal_before(&path).unwrap();
    let (_, told) = bench.payload.uplift(&["check", path.to_str().unwrap()]);
    assert!(told.contains("a program for an STM32F4: stack 0x2001fffc"), "{told}");
    assert!(told.contains("handed to the microcontroller at"), "{told}");
    let (text, report) = bench.install_file(&path);
    assert_eq!(report.outcome, Outcome::Succeeded, "{text}");
    bench.runs(NEW);
    let size = program(bench.base, NEW).len().next_multiple_of(4);
    let started = bench.chip.events().so_far();
    let is_new =
        |event: &Event| matches!(event, Event::Started { size: found, .. } if *found == size);
    assert!(started.iter().any(is_new), "{started:?}");
}

/// ST-15.
#[test]
fn a_port_that_somebody_else_has_open_is_left_to_him() {
    let bench = Setting::default().start();
    let port = fs::File::open(bench.chip.link()).unwrap();
    let held = Flock::lock(port, FlockArg::LockExclusive).unwrap();
    let (text, report) = bench.install(NEW);
    assert_eq!(report.outcome, Outcome::Failed, "{text}");
    assert!(text.contains("can't be opened for this process alone"), "{text}");
    assert_eq!(bench.chip.operations(), 0);
    drop(held);
    assert_eq!(bench.install(NEW).1.outcome, Outcome::Succeeded);
}

#[test]
fn config_check_looks_at_the_port_and_at_what_sets_the_pins() {
    let bench = Setting { lines: "mode = \"direct\"", ..Setting::default() }.start();
    let (_, text) = bench.payload.uplift(&["config", "check"]);
    assert!(text.contains("the microcontroller at"), "{text}");
    assert!(text.contains("component.motor.mode") && text.contains("has none"), "{text}");
    assert!(!text.contains("component.motor.port"), "{text}");
    bench.payload.edit_config(|text| {
        text.replace("run/ttyMotor", "run/noMotor")
            .replace("\"/bin/sh\", \"-c\", \"[", "\"/bin/none\", \"[")
    });
    let (_, text) = bench.payload.uplift(&["config", "check"]);
    for field in ["component.motor.port", "component.motor.entry"] {
        assert!(text.contains(field), "{field}: {text}");
    }
}

/// A program can't be asked for its version before it runs: it may have it in it.
#[test]
fn a_program_with_another_version_in_it_than_its_name_says_is_refused() {
    let bench = Setting { lines: "version_at = 0x188", ..Setting::default() }.start();
    let mut bytes = program(bench.base, NEXT);
    let path = bench.file_of(NEW, &bytes);
    let (text, _) = bench.install_file(&path);
    assert!(text.contains("no version at 0x188"), "{text}");
    bytes[0x188..0x188 + NEXT.len()].copy_from_slice(NEXT.as_bytes());
    let path = bench.file_of(NEW, &bytes);
    let (text, report) = bench.install_file(&path);
    assert_eq!(report.failure.unwrap().kind, FailureKind::WrongVersion, "{text}");
    assert!(text.contains("has version V03.00.00.00 in it"), "{text}");
    assert_eq!(bench.chip.operations(), 0);
    let path = bench.file_of(NEXT, &bytes);
    assert_eq!(bench.install_file(&path).1.outcome, Outcome::Succeeded);
}
