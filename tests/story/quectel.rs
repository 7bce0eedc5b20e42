//! The QuecThing platform upgrades the payload through a module on a serial port: what goes over the
//! wire, and what goes wrong on the way (docs/use/quectel.md, QT-1 to QT-15).

mod broken;
mod refused;
mod resumed;
mod switches;

use std::fs;
use std::path::Path;
use std::time::Duration;

use uplift::model::{ChannelState, ChannelStatus, Outcome, Phase, Report, Status};
use uplift_sim::module::quectel::{Event, Module, Options, Plan};
use uplift_sim::signer::Signer;

use crate::world::payload::{NEW, OLD, Payload, Setup};
use crate::world::watched::Watched as _;

/// [`OLD`] and [`NEW`] as the platform writes them.
const RUNS: &str = "1_0_0_0";
const TARGET: &str = "2_0_0";
const LONG: Duration = Duration::from_secs(90);

fn signer() -> Signer {
    Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap()
}

/// A payload with a module at its serial port.
struct Site {
    payload: Payload,
    module: Module,
    signer: Signer,
}

impl Site {
    /// The platform plans the new version, sealed.
    fn new(options: Options) -> Self {
        Self::with(Payload::setup(), "", options)
    }

    fn with(setup: Setup, lines: &str, options: Options) -> Self {
        let mut site = Self::stopped(setup, lines, options);
        site.plan_new_version();
        site.payload.start_channels().unwrap();
        site
    }

    /// The platform plans nothing, and nobody speaks with the module yet.
    fn stopped(setup: Setup, lines: &str, options: Options) -> Self {
        let signer = signer();
        let trusted = signer.trusted_section();
        let sections = format!(
            "[package]\n{trusted}\n[channel.quectel]\ndevice = \"ROOT/run/ttyQuectel\"\ncomponents = {{ PAYLOAD = \"program\" }}\n{lines}\n"
        );
        let payload = setup.sections(&sections).start();
        let module = Module::start(payload.root().join("run/ttyQuectel"), options).unwrap();
        Self { payload, module, signer }
    }

    fn plan_new_version(&self) {
        let firmware = self.payload.new_firmware();
        self.signer.seal_file(&firmware).unwrap();
        self.plan(&firmware, TARGET);
    }

    fn plan(&self, firmware: &Path, to: &str) {
        self.module.plan(Plan::new("PAYLOAD", to, fs::read(firmware).unwrap()));
    }

    fn so_far(&self) -> Vec<Event> {
        self.module.events().so_far()
    }

    #[track_caller]
    fn waits_for(&self, what: impl Fn(&Event) -> bool) -> Event {
        let event = self.module.events().wait_for(LONG, |event| what(event));
        event.unwrap_or_else(|| panic!("{:#?}", self.so_far()))
    }

    fn count(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.so_far().iter().filter(|event| what(event)).count()
    }

    /// What was announced, one after the other.
    fn announced(&self) -> Vec<String> {
        let announced = self.so_far().into_iter().filter_map(|event| match event {
            Event::Announced { version, .. } => Some(version),
            _ => None,
        });
        announced.collect()
    }

    /// Bytes that were read of the file.
    fn read(&self) -> u64 {
        let read = self.so_far().into_iter().map(|event| match event {
            Event::Read { size, .. } => size,
            _ => 0,
        });
        read.sum()
    }

    /// The last report, when the platform has heard it.
    #[track_caller]
    fn reported(&self) -> Report {
        let is_over = |status: &Status| {
            status.phase == Phase::Idle && status.unacknowledged.is_empty() && status.last.is_some()
        };
        let over = self.payload.wait_for_status(is_over);
        over.unwrap_or_else(|error| {
            panic!("{error:#}: {:?}\n{:#?}", self.payload.status(), self.so_far())
        });
        self.payload.last_report()
    }

    #[track_caller]
    fn succeeds(&mut self) -> Report {
        let asked = self.payload.wait_for_restart_request_within(LONG);
        asked.unwrap_or_else(|error| panic!("{error:#}: {:#?}", self.so_far()));
        self.payload.reboot();
        let report = self.reported();
        assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
        assert_eq!(report.request.channel.as_str(), "quectel");
        assert_eq!(self.payload.reported_version().unwrap(), NEW);
        self.waits_for(|event| *event == Event::Succeeded { to: TARGET.into() });
        report
    }

    /// Waits until the channel stands so.
    #[track_caller]
    fn says(&self, state: ChannelState, sentence: &str) -> ChannelStatus {
        let own = |channels: &[ChannelStatus]| {
            let is_it = |one: &&ChannelStatus| {
                one.name.as_str() == "quectel"
                    && one.state == state
                    && one.sentence.contains(sentence)
            };
            channels.iter().find(is_it).cloned()
        };
        let status = self.payload.wait_for_status(|status| own(&status.channels).is_some());
        let status =
            status.unwrap_or_else(|error| panic!("{error:#}: {:?}", self.payload.status()));
        own(&status.channels).unwrap()
    }
}

fn is_failed(event: &Event) -> bool {
    matches!(event, Event::Failed { .. })
}

fn is_read(event: &Event) -> bool {
    matches!(event, Event::Read { .. })
}

fn is_command(event: &Event, wanted: &str) -> bool {
    matches!(event, Event::Command { text, .. } if text == wanted)
}

/// The transcript of the wire's document, as far as the payload speaks.
#[test]
fn qt_10_the_platform_s_plan_is_followed_word_by_word() {
    let mut site = Site::new(Options { piece: 200_000, ..Options::default() });
    let report = site.succeeds();
    assert_eq!(report.package.unwrap().version.to_string(), NEW);
    let said: Vec<String> = site
        .so_far()
        .into_iter()
        .filter_map(|event| match event {
            Event::Command { text, ok: true } if !text.starts_with("AT+QIOTOTARD=") => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(site.count(|event| is_command(event, "AT+QIOTOTAREQ=1")), 1, "QT-5: once an hour");
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    let wanted = [
        "AT",
        "ATE0",
        "AT+QIOTSTATE?",
        "AT+QIOTMCUVER=\"PAYLOAD\"",
        "AT+QIOTMCUVER=\"PAYLOAD\",\"1_0_0_0\"",
        "AT+QIOTOTAREQ=1",
        "AT+CSQ",
        "AT+QIOTUPDATE=1",
        "AT+QIOTUPDATE=2",
        "AT+QIOTUPDATE=3",
        // After the restart.
        "AT",
        "ATE0",
        "AT+QIOTSTATE?",
        "AT+QIOTMCUVER=\"PAYLOAD\"",
        "AT+QIOTMCUVER=\"PAYLOAD\",\"2_0_0\"",
    ];
    assert_eq!(&said[..wanted.len()], wanted);
    assert_eq!(site.announced(), [RUNS, TARGET], "the plan's own text, not ours");
    assert_eq!(site.count(|event| *event == Event::Updating), 1);
    site.says(ChannelState::Works, "connected to the platform");
    let shown = site.payload.uplift(&["status"]).1;
    assert!(shown.contains("quectel: works"), "{shown}");
}

#[test]
fn qt_11_what_was_rolled_back_is_told_by_the_old_version() {
    let setup = Payload::setup()
        .trial("window = \"0s\"\ndeadline = \"1s\"\nhealth_command = [\"/bin/false\"]");
    let mut site = Site::with(setup, "", Options::default());
    site.payload.restart_when_asked();
    site.payload.restart_when_asked();
    let report = site.reported();
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    let failed = site.waits_for(is_failed);
    assert_eq!(failed, Event::Failed { to: TARGET.into(), why: format!("{RUNS} was announced") });
    site.says(ChannelState::Works, "the upgrade to 2_0_0 failed");
}
