//! DJI's Cloud API upgrades the payload, which plays the gateway at a real broker: what is asked and
//! answered, message by message, and what goes wrong on the way (docs/use/dji-cloud.md, DJ-1 to
//! DJ-18, MQ-1 to MQ-8).

mod bad_input;
mod lost;
mod microcontroller;
mod refused;
mod repeated;
mod several;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use uplift::model::{ChannelState, Outcome, Phase, Report, Status};
use uplift_sim::cloud::broker::Choice;
use uplift_sim::cloud::content::Content;
use uplift_sim::cloud::delivery::Delivery;
use uplift_sim::cloud::dji::{Event, Ids, Options, Order, Platform};
use uplift_sim::signer::Signer;

use crate::world::mosquitto;
use crate::world::payload::{NEW, Payload, Setup};
use crate::world::watched::Watched as _;

/// The payload's serial number.
const SN: &str = "PAYLOAD0001";
/// What the platform calls the new version; any text.
const TARGET: &str = "02.00.0000";
/// How long something may take. Generous: a loaded machine is no failure.
const LONG: Duration = Duration::from_secs(120);

/// A payload at a simulated platform.
struct Site {
    payload: Payload,
    platform: Platform,
    signer: Signer,
}

impl Site {
    fn new() -> Self {
        Self::of(Options::default(), "")
    }

    /// With these lines in the section `[channel.dji-cloud]`, and whatever sections follow.
    fn of(options: Options, section: &str) -> Self {
        Self::with(Payload::setup(), options, section)
    }

    /// The platform knows the payload, which knows its daemon.
    fn with(setup: Setup, options: Options, section: &str) -> Self {
        let mut site = Self::stopped(setup, options, section);
        site.payload.start_channels().unwrap();
        site.sees("its state", |event| matches!(event, Event::State { .. }));
        site
    }

    /// Nobody is at the broker.
    fn stopped(setup: Setup, options: Options, section: &str) -> Self {
        let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        let mosquitto = Some(mosquitto::program("usr/sbin/mosquitto"));
        let broker = Choice { mosquitto, ..options.broker.clone() };
        let platform = Platform::start(Options { broker, ..options }).unwrap();
        let sections = format!(
            "[package]\n{}\n[broker.cloud]\nurl = \"{}\"\nclient_id = \"{SN}\"\nspread = \"0s\"\n\
             [channel.dji-cloud]\nbroker = \"cloud\"\ngateway_sn = \"{SN}\"\n{section}\n",
            signer.trusted_section(),
            platform.broker_url()
        );
        Self { payload: setup.sections(&sections).start(), platform, signer }
    }

    /// Sealed firmware of this version and so many bytes.
    fn sealed(&self, version: &str, size: u64) -> PathBuf {
        let firmware = self.payload.firmware_of(version, size);
        self.signer.seal_file(&firmware).unwrap();
        firmware
    }

    /// An upgrade of the payload to the new program.
    fn order(&self) -> Order {
        let firmware = self.payload.new_firmware();
        self.signer.seal_file(&firmware).unwrap();
        order(&firmware)
    }

    fn ask(&self, order: &Order) -> Ids {
        self.platform.ask(SN, order).unwrap()
    }

    /// Asks, and waits for the answer: code and word.
    #[track_caller]
    fn asked(&self, order: &Order) -> (i64, String) {
        let ids = self.ask(order);
        self.answer(&ids)
    }

    /// The answer to that: code and word.
    #[track_caller]
    fn answer(&self, ids: &Ids) -> (i64, String) {
        let is_it = |event: &Event| matches!(event, Event::Replied { tid, bid, .. } if *tid == ids.tid && *bid == ids.bid);
        match self.sees("an answer", is_it) {
            Event::Replied { result, status, .. } => (result, status.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the platform has seen this, now or before.
    #[track_caller]
    fn sees(&self, what: &str, wanted: impl FnMut(&Event) -> bool) -> Event {
        let seen = self.platform.events().wait_for(LONG, wanted);
        seen.unwrap_or_else(|| panic!("{what} did not come: {}", self.seen()))
    }

    /// Waits until the platform has seen this after all that it has seen so far.
    #[track_caller]
    fn sees_now(&self, what: &str, before: usize, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        let mut number = 0;
        self.sees(what, |event| {
            number += 1;
            number > before && wanted(event)
        })
    }

    fn so_far(&self) -> usize {
        self.platform.events().so_far().len()
    }

    /// All that the platform has seen.
    fn seen(&self) -> String {
        let lines: Vec<String> = self
            .platform
            .events()
            .so_far()
            .iter()
            .filter(|event| !matches!(event, Event::Osd { .. }))
            .map(ToString::to_string)
            .collect();
        lines.join("\n")
    }

    /// Waits for the end of a request: its word and its code.
    #[track_caller]
    fn end(&self, bid: &str) -> (String, i64) {
        let is_end = |event: &Event| matches!(event, Event::Progress { bid: of, status, .. } if of == bid && is_final(status));
        match self.sees("the end", is_end) {
            Event::Progress { status, result, .. } => (status, result),
            other => panic!("{other:?}"),
        }
    }

    /// How often the end of a request was told.
    fn ends(&self, bid: &str) -> usize {
        let events = self.platform.events().so_far();
        let is_end = |event: &&Event| matches!(event, Event::Progress { bid: of, status, .. } if of == bid && is_final(status));
        events.iter().filter(is_end).count()
    }

    /// The new program runs, the platform knows it, and nothing was against the rules.
    #[track_caller]
    fn succeeds(&mut self, bid: &str) {
        assert_eq!(self.end(bid), ("ok".to_owned(), 0), "{}", self.seen());
        let report = self.reported();
        assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
        assert_eq!(report.request.channel.as_str(), "dji-cloud");
        assert_eq!(self.payload.reported_version().unwrap(), NEW);
        self.tells_version(TARGET, 0);
        self.keeps_the_rules();
    }

    /// Waits until it tells this version, and whether it upgrades.
    #[track_caller]
    fn tells_version(&self, version: &str, upgrades: i64) {
        let told = json!({
            "firmware_version": version, "compatible_status": 0, "firmware_upgrade_status": upgrades,
        });
        self.sees(
            version,
            |event| matches!(event, Event::State { sn, data } if sn == SN && *data == told),
        );
    }

    #[track_caller]
    fn keeps_the_rules(&self) {
        assert_eq!(self.platform.faults(), Vec::<String>::new(), "{}", self.seen());
    }

    /// The last report, when nothing waits for anything any more.
    #[track_caller]
    fn reported(&self) -> Report {
        let is_over = |status: &Status| {
            status.phase == Phase::Idle && status.unacknowledged.is_empty() && status.last.is_some()
        };
        let over = self.payload.wait_for_status(is_over);
        over.unwrap_or_else(|error| panic!("{error:#}: {:?}", self.payload.status()));
        self.payload.last_report()
    }

    /// Waits until so many bytes have come.
    fn has_received(&self, bytes: u64) {
        let comes = |status: &Status| {
            let done = status.upgrade.as_ref().map_or(0, |upgrade| upgrade.progress.done);
            status.phase == Phase::Receiving && done > bytes
        };
        self.payload.wait_for_status(comes).unwrap();
    }

    /// Waits until no end waits for the platform any more.
    fn knows_all_ends(&self) {
        self.keeps("\"endings\":[]");
    }

    /// Waits until the channel's record says this.
    #[track_caller]
    fn keeps(&self, words: &str) {
        let record = self.payload.root().join("state-channels/dji-cloud.json");
        self.payload.wait_for(words, || fs::read_to_string(&record).unwrap().contains(words));
    }

    fn restart_channels(&mut self) {
        self.payload.kill_channels();
        self.payload.start_channels().unwrap();
    }

    /// Waits until the channel says this of itself.
    #[track_caller]
    fn says(&self, state: ChannelState, sentence: &str) {
        let is_it = |status: &Status| {
            let own = status.channels.iter().find(|one| one.name.as_str() == "dji-cloud");
            own.is_some_and(|own| own.state == state && own.sentence.contains(sentence))
        };
        let said = self.payload.wait_for_status(is_it);
        said.unwrap_or_else(|error| panic!("{error:#}: {:?}", self.payload.status()));
    }

    fn topologies(&self) -> usize {
        let events = self.platform.events().so_far();
        events.iter().filter(|event| matches!(event, Event::Topology { .. })).count()
    }

    /// Parts of files that were sent: from where on, and with which status.
    fn served(&self) -> Vec<(u16, u64)> {
        let events = self.platform.events().so_far().into_iter();
        let served = events.filter_map(|event| match event {
            Event::Served { status, from, .. } => Some((status, from)),
            _ => None,
        });
        served.collect()
    }
}

fn order(firmware: &Path) -> Order {
    let name = firmware.file_name().unwrap().to_str().unwrap();
    Order::of(SN, TARGET, Content::open(firmware).unwrap(), name)
}

fn is_final(status: &str) -> bool {
    ["ok", "rejected", "failed", "canceled", "timeout"].contains(&status)
}

fn slow() -> Options {
    let delivery = Delivery { rate: Some(60_000), ..Delivery::default() };
    Options { delivery, ..Options::default() }
}

/// What something is called, and what it is.
type Wanted<'a> = (&'a str, &'a dyn Fn(&Event) -> bool);

/// Waits until all of these were seen, each after the one before it.
#[track_caller]
fn come_in_order(site: &Site, wanted: &[Wanted<'_>]) {
    let mut events = site.platform.events();
    for (what, is_it) in wanted {
        let found = events.wait_for(LONG, |event| is_it(event));
        assert!(found.is_some(), "{what} did not come in its place: {}", site.seen());
    }
}

/// The sequence of the documents, with a reboot in it.
#[test]
fn dj_1_to_17_an_upgrade_from_the_topology_to_its_end_message_by_message() {
    // Its trial lasts until the test has seen it.
    let setup = Payload::setup().trial(
        "window = \"0s\"\ndeadline = \"100s\"\nhealth_command = [\"/usr/bin/test\", \"-e\", \"ROOT/healthy\"]",
    );
    let mut site = Site::with(setup, slow(), "");
    site.sees("its properties", |event| matches!(event, Event::Osd { .. }));
    let asked = Instant::now();
    let ids = site.ask(&site.order());
    site.payload.restart_when_asked();
    site.sees("its trial", |event| matches!(event, Event::Progress { percent: 95, .. }));
    fs::write(site.payload.root().join("healthy"), "").unwrap();
    site.succeeds(&ids.bid);
    let topology = |event: &Event| matches!(event, Event::Topology { gateway, data } if gateway == SN && data["domain"] == "3" && data["sub_devices"] == json!([]));
    let state = |version: &'static str, upgrades: i64| move |event: &Event| matches!(event, Event::State { data, .. } if data["firmware_version"] == version && data["firmware_upgrade_status"] == upgrades);
    let osd = |mode: i64| move |event: &Event| matches!(event, Event::Osd { sn, data } if sn == SN && data["mode_code"] == mode && data["emergency_stop_state"] == 0);
    let replied = |event: &Event| matches!(event, Event::Replied { tid, bid, result: 0, status: Some(status), .. } if (tid, bid) == (&ids.tid, &ids.bid) && status == "in_progress");
    let progress = |word: &'static str, step: &'static str, least: i64| {
        let bid = ids.bid.clone();
        move |event: &Event| matches!(event, Event::Progress { bid: of, status, step: Some(told), percent, is_online: true, result: 0, .. } if *of == bid && status == word && told == step && *percent >= least)
    };
    let upgrades = |event: &Event| osd(3)(event);
    come_in_order(
        &site,
        &[
            ("the topology", &topology),
            ("DJ-15: the old version", &state("01.00.0000", 0)),
            ("the properties", &osd(0)),
            ("the command", &|event| matches!(event, Event::Sent { .. })),
            ("DJ-8: the answer", &replied),
            ("DJ-12: the beginning", &progress("in_progress", "download_firmware", 0)),
            ("DJ-16: it upgrades", &upgrades),
            ("the download", &progress("in_progress", "download_firmware", 20)),
            ("the installation", &progress("in_progress", "upgrade_firmware", 80)),
            ("the topology, after the reboot", &topology),
            ("DJ-13: the trial", &progress("in_progress", "upgrade_firmware", 95)),
            ("DJ-14: the end", &progress("ok", "upgrade_firmware", 100)),
        ],
    );
    come_in_order(&site, &[("ready", &state("02.00.0000", 0)), ("idle", &osd(0))]);
    // DJ-12: only the percentage changes between most events.
    let events = site.platform.events().so_far();
    let told = events.iter().filter(|event| matches!(event, Event::Progress { .. })).count();
    let pace = usize::try_from(asked.elapsed().as_secs() / 2).unwrap();
    assert!(told <= pace + 8, "{told} events: {}", site.seen());
    assert_eq!(site.ends(&ids.bid), 1, "its answer was heard: {}", site.seen());
    let shown = site.payload.uplift(&["status"]).1;
    assert!(shown.contains("dji-cloud: works"), "{shown}");
}

#[test]
fn dj_2_the_signature_of_a_url_is_nowhere() {
    let mut site = Site::new();
    let ids = site.ask(&site.order());
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
    let mut said = site.payload.logs();
    for arguments in [&["status"][..], &["status", "--json"], &["history", "--json"], &["metrics"]]
    {
        said += &site.payload.uplift(arguments).1;
    }
    assert!(!said.contains("5ecret"), "{said}");
    let record = site.payload.root().join("state-channels/dji-cloud.json");
    let kept = fs::read_to_string(record).unwrap();
    assert!(!kept.contains("5ecret"), "what has ended needs no URL: {kept}");
}

#[test]
fn dj_10_the_step_is_written_as_configured() {
    for (form, key, download) in [
        ("current_step_string", "current_step", json!("download_firmware")),
        ("current_step_int", "current_step", json!(1)),
        ("both_strings", "step_key", json!("download_firmware")),
    ] {
        let site = Site::of(slow(), &format!("step = \"{form}\"\nversion_form = \"dotted\"\n"));
        site.sees("its version", |event| matches!(event, Event::State { data, .. } if data["firmware_version"] == "01.00.00.00"));
        site.ask(&site.order());
        let told = |event: &Event| matches!(event, Event::Progress { step: Some(step), .. } if *step == download);
        site.sees(&format!("{form} {key}"), told);
        site.keeps_the_rules();
    }
}
