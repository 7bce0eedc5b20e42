//! The LuatOS platform, or a web server of one's own, upgrades the payload: what is asked, what is
//! made of the answer, and what goes wrong on the way (docs/use/luatos.md, LU-1 to LU-8).

mod codes;
mod delivery;
mod own_server;
mod refused;
mod secrets;
mod turnkey;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uplift::model::{ChannelState, ChannelStatus, Outcome, Phase, Report};
use uplift_sim::cloud::content::Content;
use uplift_sim::cloud::luatos::{Event, Options, Package, Server};
use uplift_sim::signer::Signer;

use crate::world::payload::{NEW, OLD, Payload, Setup};
use crate::world::watched::Watched as _;

const KEY: &str = "b0wlT3yrmIpTSPLi3e7Fob5nvBJxO6pM";
const NAME: &str = "payload_LuatOS-SoC_LINUX";
/// [`OLD`] and [`NEW`] as they are told.
const RUNS: &str = "2012.010.000";
const PACKAGE: &str = "2012.020.000";
const LONG: Duration = Duration::from_secs(90);

const DEVICE: &str = "project_key_file = \"ROOT/key\"\nidentity = { imei = \"PAYLOAD0001\" }\nfirmware_name = \"payload_LuatOS-SoC_LINUX\"\ncore = 2012\n";
const PLATFORM: &str = "mode = \"platform\"\nurl = \"SERVER/api/site/firmware_upgrade\"\nDEVICE";
const PREFIX: &str =
    "mode = \"prefix\"\nurl = \"SERVER/api/site/firmware_upgrade?need=file&\"\nDEVICE";
const VERBATIM: &str = "mode = \"verbatim\"\nurl = \"SERVER/pkg.bin\"\n";
const TURNKEY: &str = "mode = \"turnkey\"\nurl = \"SERVER/api/site/turnkey_fota\"\nmodel = \"PAYLOAD\"\ncore_id = \"1\"\nDEVICE";

fn signer() -> Signer {
    Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap()
}

/// The sections of a payload that asks this server now and then, and takes what this signer seals.
fn sections(mode: &str, server: &str, signer: &Signer) -> String {
    let mode = mode.replace("DEVICE", DEVICE).replace("SERVER", server);
    let trusted = signer.trusted_section();
    format!("[package]\n{trusted}\n[channel.luatos]\nspread = \"0s\"\npoll = \"1h\"\n{mode}\n")
}

/// Starts a payload that does not ask yet.
fn payload(setup: Setup, sections: &str) -> Payload {
    let payload = setup.sections(sections).start();
    fs::write(payload.root().join("key"), format!("{KEY}\n")).unwrap();
    payload
}

/// How the channel stands.
fn standing(payload: &Payload, wanted: impl Fn(&ChannelStatus) -> bool) -> ChannelStatus {
    let own = |channels: &[ChannelStatus]| {
        channels.iter().find(|one| one.name.as_str() == "luatos").filter(|one| wanted(one)).cloned()
    };
    let status = payload.wait_for_status(|status| own(&status.channels).is_some());
    let status = status.unwrap_or_else(|error| panic!("{error:#}: {:?}", payload.status()));
    own(&status.channels).unwrap()
}

/// Waits until the channel says this.
#[track_caller]
fn says(payload: &Payload, state: ChannelState, sentence: &str) {
    standing(payload, |status| status.state == state && status.sentence.contains(sentence));
}

/// The last report, when nothing waits for anything any more.
fn reported(payload: &Payload) -> Report {
    let is_over = |status: &uplift::model::Status| {
        status.phase == Phase::Idle && status.unacknowledged.is_empty() && status.last.is_some()
    };
    let over = payload.wait_for_status(is_over);
    over.unwrap_or_else(|error| panic!("{error:#}: {:?}", payload.status()));
    payload.last_report()
}

fn asks_anew(payload: &mut Payload) {
    payload.kill_channels();
    payload.start_channels().unwrap();
}

/// The record of what was asked.
fn record(payload: &Payload) -> PathBuf {
    payload.root().join("state-channels/luatos.json")
}

/// A payload at a simulated platform.
struct Site {
    payload: Payload,
    server: Server,
    signer: Signer,
}

impl Site {
    /// It asks at once for the new version.
    fn new(mode: &str, options: Options) -> Self {
        Self::with(Payload::setup(), mode, options)
    }

    fn with(setup: Setup, mode: &str, options: Options) -> Self {
        let mut site = Self::stopped(setup, mode, options);
        let firmware = site.payload.new_firmware();
        site.signer.seal_file(&firmware).unwrap();
        site.upload(&firmware);
        site.payload.start_channels().unwrap();
        site
    }

    /// The platform has nothing, and nobody asks.
    fn stopped(setup: Setup, mode: &str, options: Options) -> Self {
        let signer = signer();
        let options = Options { project_key: Some(KEY.to_owned()), ..options };
        let server = Server::start(options).unwrap();
        let payload = payload(setup, &sections(mode, &server.url(), &signer));
        Self { payload, server, signer }
    }

    fn upload(&self, firmware: &Path) {
        let package = Package {
            firmware_name: NAME.to_owned(),
            version: PACKAGE.to_owned(),
            content: Content::open(firmware).unwrap(),
        };
        self.server.change(|options| options.packages = vec![package]);
    }

    /// Waits until the platform says this code to who tells this version.
    #[track_caller]
    fn answered(&self, told: &str, expected: i64) {
        let is_it = |event: &Event| matches!(event, Event::Asked { version: Some(version), code: Some(code), .. } if version == told && *code == expected);
        let event = self.server.events().wait_for(LONG, is_it);
        assert!(event.is_some(), "{:#?}", self.server.events().so_far());
    }

    /// Requests that the platform answered with the file or a part of it, with their ranges.
    fn served(&self) -> Vec<Option<String>> {
        let events = self.server.events().so_far().into_iter();
        let served = events.filter_map(|event| match event {
            Event::Asked { range, status: 200 | 206 | 302, code: None, .. } => Some(range),
            _ => None,
        });
        served.collect()
    }

    fn requests(&self) -> usize {
        let events = self.server.events().so_far();
        events.iter().filter(|event| matches!(event, Event::Asked { .. })).count()
    }

    #[track_caller]
    fn succeeds(&mut self) -> Report {
        self.payload.wait_for_restart_request_within(LONG).unwrap();
        self.payload.reboot();
        let report = reported(&self.payload);
        assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
        assert_eq!(report.request.channel.as_str(), "luatos");
        assert_eq!(self.payload.reported_version().unwrap(), NEW);
        report
    }
}

#[test]
fn lu_3_the_platform_s_file_is_installed_and_the_new_version_is_told_to_it() {
    let mut site = Site::new(PLATFORM, Options::default());
    let report = site.succeeds();
    let package = report.package.unwrap();
    assert_eq!(package.version.to_string(), NEW, "its seal has said so");
    site.answered(PACKAGE, 27);
    says(&site.payload, ChannelState::Works, "nothing newer");
    // One request has found it, one fetched it.
    assert_eq!(site.served(), [None, None]);
    let shown = site.payload.uplift(&["status"]).1;
    assert!(shown.contains("luatos: works"), "{shown}");
    assert!(shown.contains("code 27: already latest version"), "{shown}");
    let asked: Vec<_> = site.server.events().so_far().into_iter().filter_map(version).collect();
    assert_eq!(asked, [RUNS, RUNS, PACKAGE]);
}

fn version(event: Event) -> Option<String> {
    match event {
        Event::Asked { version, identity, .. } => {
            assert_eq!(identity, Some(("imei".to_owned(), "PAYLOAD0001".to_owned())));
            version
        }
        _ => None,
    }
}

#[test]
fn lu_2_a_server_of_one_s_own_is_asked_by_a_prefix_and_the_same_parameters() {
    let mut site = Site::new(PREFIX, Options::default());
    site.succeeds();
    site.answered(PACKAGE, 27);
    assert_eq!(site.served().len(), 2);
}

#[test]
fn lu_4_a_version_that_nobody_knows_is_told_to_nobody() {
    let mut site = Site::stopped(Payload::setup().version(""), PLATFORM, Options::default());
    site.payload.start_channels().unwrap();
    says(&site.payload, ChannelState::Fails, "the version of what runs is not known");
    assert!(site.server.events().so_far().is_empty());
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
}

#[test]
fn lu_3_a_record_that_is_damaged_begins_anew() {
    let mut site = Site::stopped(Payload::setup(), PLATFORM, Options::default());
    let large = vec![b'x'; 64 << 10];
    for damaged in [&b"{"[..], b"\xff\xff", &large, b"{\"clock\":18446744073709551615}"] {
        site.payload.kill_channels();
        fs::create_dir_all(record(&site.payload).parent().unwrap()).unwrap();
        fs::write(record(&site.payload), damaged).unwrap();
        let before = site.requests();
        site.payload.start_channels().unwrap();
        site.payload.wait_for("a request", || site.requests() > before);
        let record = record(&site.payload);
        site.payload.wait_for("a new record", || {
            serde_json::from_slice::<serde_json::Value>(&fs::read(&record).unwrap())
                .is_ok_and(|record| record["clock"] == 0)
        });
    }
    let log = fs::read_to_string(site.payload.log("channels")).unwrap();
    assert_eq!(log.matches("is damaged, and a new one begins").count(), 4, "{log}");
}
