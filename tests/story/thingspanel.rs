//! ThingsPanel upgrades the payload over a real broker: which tasks are taken, what the platform
//! hears of them, and what goes wrong on the way (docs/use/thingspanel.md, TP-1 to TP-18).

mod brokers;
mod codes;
mod files;
mod interrupted;
mod presets;
mod pushes;
mod reports;
mod secrets;

use std::fs;
use std::path::Path;
use std::time::Duration;

use uplift::model::{ChannelState, ChannelStatus, Outcome, Phase, Report};
use uplift_sim::cloud::broker::Choice;
use uplift_sim::cloud::content::Content;
use uplift_sim::cloud::thingspanel::{Event, Generation, Options, Server, State, Task};
use uplift_sim::signer::Signer;

use crate::world::mosquitto::program;
use crate::world::payload::{NEW, OLD, Payload, Setup};
use crate::world::watched::Watched as _;

/// The access token: whoever knows it is the device.
const TOKEN: &str = "c3VwZXItc2VjcmV0LXRva2";
const NUMBER: &str = "4711";
const LONG: Duration = Duration::from_secs(90);

/// A payload at a simulated platform.
struct Site {
    payload: Payload,
    server: Server,
    signer: Signer,
}

/// Fields for a generation.
fn preset(generation: Generation) -> &'static str {
    match generation {
        Generation::LegacyInfrom => "generation = \"legacy-infrom\"\ntoken_file = \"ROOT/token\"\n",
        Generation::V05 => "token_file = \"ROOT/token\"\n",
        Generation::V1 => "generation = \"v1\"\ndevice_number = \"4711\"\n",
    }
}

/// The device's key at a platform of this generation.
fn key(generation: Generation) -> String {
    if generation == Generation::V1 { NUMBER.to_owned() } else { TOKEN.to_owned() }
}

fn of(generation: Generation) -> Options {
    Options { generation, ..Options::default() }
}

fn v05() -> Options {
    of(Generation::V05)
}

impl Site {
    /// Platform and payload run, and know each other.
    fn new(options: Options) -> Self {
        Self::with(Payload::setup(), options, "")
    }

    /// With further fields of the section, and a payload that is made so.
    fn with(setup: Setup, options: Options, fields: &str) -> Self {
        let mut site = Self::silent(setup, options, fields);
        site.payload.start_channels().unwrap();
        site.reported(1);
        // And the broker has acknowledged it, so that it is not told again.
        let record = site.payload.root().join("state-channels/thingspanel.json");
        site.payload.wait_for("the record of it", || {
            fs::read_to_string(&record).is_ok_and(|record| record.contains("\"told\":{\"default\""))
        });
        site
    }

    /// Nobody listens to the platform yet.
    fn silent(setup: Setup, options: Options, fields: &str) -> Self {
        let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        let fields = format!("{}{fields}", preset(options.generation));
        let choice = match &options.broker.url {
            Some(_) => options.broker.clone(),
            None => Choice { mosquitto: Some(program("usr/sbin/mosquitto")), ..Choice::default() },
        };
        let device = key(options.generation);
        let server = Server::start(Options { broker: choice, device, ..options }).unwrap();
        let trusted = signer.trusted_section();
        let url = server.broker().url();
        let sections = format!(
            "[package]\n{trusted}\n[broker.cloud]\nurl = \"{url}\"\nclient_id = \"PAYLOAD0001\"\nspread = \"0s\"\n\
             [channel.thingspanel]\nbroker = \"cloud\"\n{fields}\n"
        );
        let payload = setup.sections(&sections).start();
        fs::write(payload.root().join("token"), format!("{TOKEN}\n")).unwrap();
        Self { payload, server, signer }
    }

    /// A task for the new version.
    fn task(&self) -> Task {
        self.task_of(NEW, 300_000)
    }

    fn task_of(&self, version: &str, size: u64) -> Task {
        let firmware = self.payload.firmware_of(version, size);
        self.signer.seal_file(&firmware).unwrap();
        // The file on the disk is another one in the next task.
        Task::of(version, Content::new(&fs::read(&firmware).unwrap()))
    }

    /// Waits until the platform was told so many versions.
    #[track_caller]
    fn reported(&self, times: usize) {
        let mut seen = 0;
        let event = self.server.events().wait_for(LONG, |event| {
            seen += usize::from(matches!(event, Event::Reported { .. }));
            seen == times
        });
        assert!(event.is_some(), "{:#?}", self.events());
    }

    /// The versions that the platform was told, each with its module.
    fn versions(&self) -> Vec<(String, String)> {
        let told = self.events().into_iter().filter_map(|event| match event {
            Event::Reported { module, version, .. } => Some((module?, version?)),
            _ => None,
        });
        told.collect()
    }

    fn events(&self) -> Vec<Event> {
        self.server.events().so_far()
    }

    /// Waits until a task stands so at the platform.
    #[track_caller]
    fn stands(&self, id: &str, state: State) {
        let is_it = |event: &Event| matches!(event, Event::Progress { task: Some((of, now)), .. } if of == id && *now == state);
        let event = self.server.events().wait_for(LONG, is_it);
        assert!(event.is_some(), "{state:?}: {:#?}", self.events());
    }

    /// The steps that the platform was told, as numbers.
    fn steps(&self) -> Vec<i64> {
        let told = self.events().into_iter().filter_map(|event| match event {
            Event::Progress { step, .. } => Some(step.parse().unwrap()),
            _ => None,
        });
        told.collect()
    }

    /// The last word.
    fn last_word(&self) -> (String, String) {
        let told = self.events().into_iter().rev().find_map(|event| match event {
            Event::Progress { step, desc, .. } => Some((step, desc)),
            _ => None,
        });
        told.unwrap()
    }

    /// Nothing was said that the platform can't take, or that no task of it waits for.
    #[track_caller]
    fn is_well_spoken(&self) {
        let wrong = |event: &Event| {
            matches!(event, Event::Senseless { .. } | Event::Progress { task: None, .. })
        };
        let wrong: Vec<Event> = self.events().into_iter().filter(|event| wrong(event)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// The task goes to its good end: once, and in order.
    #[track_caller]
    fn succeeds(&mut self, id: &str) -> Report {
        self.payload.wait_for_restart_request_within(LONG).unwrap();
        self.payload.reboot();
        let report = self.over();
        assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
        assert_eq!(report.request.channel.as_str(), "thingspanel");
        assert_eq!(self.payload.reported_version().unwrap(), NEW);
        self.stands(id, State::Success);
        self.is_well_spoken();
        let steps = self.steps();
        assert_eq!(steps.iter().filter(|step| **step == 100).count(), 1, "{steps:?}");
        report
    }

    /// The task ends with this step, and nothing was installed; what the platform was told.
    #[track_caller]
    fn fails(&self, id: &str, expected: i64) -> String {
        self.stands(id, State::Failed);
        let (step, desc) = self.last_word();
        assert_eq!(step, expected.to_string(), "{desc}");
        assert_eq!(self.payload.reported_version().unwrap(), OLD);
        desc
    }

    /// The channel begins anew.
    fn restart_channels(&mut self) {
        self.payload.kill_channels();
        self.payload.start_channels().unwrap();
    }

    /// The last report, when nothing waits for anything any more.
    #[track_caller]
    fn over(&self) -> Report {
        let is_over = |status: &uplift::model::Status| {
            status.phase == Phase::Idle && status.unacknowledged.is_empty() && status.last.is_some()
        };
        let over = self.payload.wait_for_status(is_over);
        over.unwrap_or_else(|error| panic!("{error:#}: {:?}", self.payload.status()));
        self.payload.last_report()
    }

    /// Waits until the channel says this of itself.
    #[track_caller]
    fn says(&self, state: ChannelState, sentence: &str) -> ChannelStatus {
        let own = |channels: &[ChannelStatus]| {
            let mut all = channels.iter();
            all.find(|one| one.name.as_str() == "thingspanel")
                .filter(|one| one.state == state && one.sentence.contains(sentence))
                .cloned()
        };
        let status = self.payload.wait_for_status(|status| own(&status.channels).is_some());
        let status =
            status.unwrap_or_else(|error| panic!("{error:#}: {:?}", self.payload.status()));
        own(&status.channels).unwrap()
    }
}
