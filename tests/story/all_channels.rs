//! Several channels at once (I4): while the upgrade of one runs, each other one is told so in its own
//! platform's words, and only who asked hears how it goes on; and who comes before whom
//! (docs/use/policy.md).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uplift::model::{ChannelState, FailureKind, Outcome, Phase, Report, Status};
use uplift_sim::cloud::broker::Choice;
use uplift_sim::cloud::content::Content;
use uplift_sim::cloud::delivery::Delivery;
use uplift_sim::cloud::{dji, hawkbit, luatos, thingspanel};
use uplift_sim::module::quectel;
use uplift_sim::signer::Signer;

use crate::world::mosquitto;
use crate::world::payload::{NEW, OLD, Payload, Transfer};
use crate::world::running::Running;
use crate::world::watched::Watched as _;

const DEVICE: &str = "PAYLOAD0001";
const LONG: Duration = Duration::from_secs(120);
/// What those ask for who find another upgrade there.
const LATER: &str = "V03.00.00.00";
/// Exit code of `uplift install` where another upgrade runs.
const BUSY: i32 = 3;

/// Who asks for an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Shell,
    Hawkbit,
    Luatos,
    Dji,
    Thingspanel,
    Quectel,
}

impl Asker {
    const ALL: [Self; 6] =
        [Self::Shell, Self::Hawkbit, Self::Luatos, Self::Dji, Self::Thingspanel, Self::Quectel];

    fn channel(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Hawkbit => "hawkbit",
            Self::Luatos => "luatos",
            Self::Dji => "dji-cloud",
            Self::Thingspanel => "thingspanel",
            Self::Quectel => "quectel",
        }
    }
}

/// A payload with all channels, each at a platform of its own; those of MQTT at one broker.
struct Site {
    payload: Payload,
    signer: Signer,
    hawkbit: hawkbit::Server,
    luatos: luatos::Server,
    dji: dji::Platform,
    thingspanel: thingspanel::Server,
    module: quectel::Module,
    clients: Vec<Running>,
}

impl Site {
    /// All platforms know the payload, and want nothing of it. Files come at this rate.
    fn new(rate: Option<u64>) -> Self {
        let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        let delivery = Delivery { rate, ..Delivery::default() };
        let hawkbit = hawkbit::Server::start(hawkbit::Options {
            sleep: "00:00:05".to_owned(),
            delivery: delivery.clone(),
            ..hawkbit::Options::default()
        });
        let luatos = luatos::Server::start(luatos::Options {
            delivery: delivery.clone(),
            ..luatos::Options::default()
        });
        let mosquitto = Some(mosquitto::program("usr/sbin/mosquitto"));
        let broker = Choice { mosquitto, ..Choice::default() };
        let dji =
            dji::Platform::start(dji::Options { broker, delivery, ..dji::Options::default() });
        let (hawkbit, luatos, dji) = (hawkbit.unwrap(), luatos.unwrap(), dji.unwrap());
        let broker = Choice { url: Some(dji.broker_url()), ..Choice::default() };
        let thingspanel = thingspanel::Server::start(thingspanel::Options {
            broker,
            generation: thingspanel::Generation::V1,
            device: DEVICE.to_owned(),
            ..thingspanel::Options::default()
        });
        let thingspanel = thingspanel.unwrap();
        let sections = format!(
            "[trial]\nwindow = \"0s\"\n[package]\n{}\n\
             [channel.hawkbit]\nserver = \"{}\"\ncontroller_id = \"{DEVICE}\"\nspread = \"0s\"\n\
             [channel.luatos]\nmode = \"platform\"\nurl = \"{}/api/site/firmware_upgrade\"\nspread = \"0s\"\npoll = \"5s\"\n\
             project_key_file = \"ROOT/key\"\nidentity = {{ imei = \"{DEVICE}\" }}\nfirmware_name = \"payload_LuatOS-SoC_LINUX\"\ncore = 2012\n\
             [broker.cloud]\nurl = \"{}\"\nclient_id = \"{DEVICE}\"\nspread = \"0s\"\n\
             [channel.dji-cloud]\nbroker = \"cloud\"\ngateway_sn = \"{DEVICE}\"\n\
             [channel.thingspanel]\nbroker = \"cloud\"\ngeneration = \"v1\"\ndevice_number = \"{DEVICE}\"\n\
             [channel.quectel]\ndevice = \"ROOT/run/ttyQuectel\"\ncomponents = {{ PAYLOAD = \"program\" }}\n",
            signer.trusted_section(),
            hawkbit.url(),
            luatos.url(),
            dji.broker_url(),
        );
        let payload = Payload::setup().sections(&sections).link("\"auto\"", None).start();
        fs::write(payload.root().join("key"), "key\n").unwrap();
        let device = payload.root().join("run/ttyQuectel");
        let module = quectel::Module::start(device, quectel::Options::default()).unwrap();
        let clients = Vec::new();
        let mut site = Self { payload, signer, hawkbit, luatos, dji, thingspanel, module, clients };
        // A platform without any file has no such device.
        let runs = site.sealed(OLD);
        site.offer_over_luatos(OLD, &runs);
        site.payload.start_channels().unwrap();
        site.dji_sees("its state", |event| matches!(event, dji::Event::State { .. }));
        site.module_sees("its question for plans", |event| {
            matches!(event, quectel::Event::Command { text, .. } if text == "AT+QIOTOTAREQ=1")
        });
        let works = |status: &Status| {
            status.channels.iter().all(|channel| channel.state == ChannelState::Works)
        };
        let working = site.payload.wait_for_status(works);
        working.unwrap_or_else(|error| panic!("{error:#}: {:?}", site.payload.status()));
        site
    }

    fn sealed(&self, version: &str) -> PathBuf {
        let firmware = self.payload.firmware_of(version, 300_000);
        self.signer.seal_file(&firmware).unwrap();
        firmware
    }

    /// Its platform, or a person, wants this version.
    fn ask(&mut self, asker: Asker, version: &str) {
        let firmware = self.sealed(version);
        match asker {
            Asker::Shell => self.clients.push(self.payload.install_file(&firmware)),
            Asker::Hawkbit => {
                let handling = hawkbit::Handling::Forced;
                let chunks = vec![hawkbit::Chunk::of_file(&firmware).unwrap()];
                let deployment = hawkbit::Deployment { handling, closed_looks: None, chunks };
                self.hawkbit.assign(DEVICE, deployment);
            }
            Asker::Luatos => self.offer_over_luatos(version, &firmware),
            Asker::Dji => {
                let name = firmware.file_name().unwrap().to_str().unwrap();
                let content = Content::open(&firmware).unwrap();
                let order = dji::Order::of(DEVICE, target(version), content, name);
                self.dji.ask(DEVICE, &order).unwrap();
            }
            Asker::Thingspanel => {
                // The file on the disk is another one for the next who asks.
                let content = Content::new(&fs::read(&firmware).unwrap());
                self.thingspanel.push(&thingspanel::Task::of(version, content)).unwrap();
            }
            Asker::Quectel => {
                let bytes = fs::read(&firmware).unwrap();
                self.module.plan(quectel::Plan::new("PAYLOAD", plan(version), bytes));
                self.module.push();
            }
        }
    }

    fn offer_over_luatos(&self, version: &str, firmware: &Path) {
        let offered = luatos::Package {
            firmware_name: "payload_LuatOS-SoC_LINUX".to_owned(),
            version: package(version).to_owned(),
            content: Content::open(firmware).unwrap(),
        };
        self.luatos.change(|options| options.packages = vec![offered]);
    }

    /// Asked for an upgrade, it says that another one runs.
    #[track_caller]
    fn is_busy(&mut self, asker: Asker) {
        self.ask(asker, LATER);
        match asker {
            Asker::Shell => {
                let output = self.clients.pop().unwrap().wait_with_output().unwrap();
                assert_eq!(output.status.code(), Some(BUSY), "{output:?}");
            }
            Asker::Hawkbit => {
                let seen = self.hawkbit.events().wait_for(LONG, |event| {
                    feedback(event).is_some_and(|word| word == "scheduled/none")
                });
                assert!(seen.is_some(), "{:#?}", self.hawkbit.events().so_far());
            }
            // Its platform has no word for it: it offers the same at the next poll.
            Asker::Luatos => {
                let offered = |status: &Status| {
                    status.channels.iter().any(|channel| {
                        channel.name.as_str() == "luatos"
                            && channel.sentence == "its server offers a file"
                    })
                };
                let known = self.payload.wait_for_status(offered);
                known.unwrap_or_else(|error| panic!("{error:#}: {:?}", self.payload.status()));
            }
            Asker::Dji => {
                let replied = |event: &dji::Event| {
                    matches!(event, dji::Event::Replied { result: 312_014, .. })
                };
                self.dji_sees("312014", replied);
            }
            // Nor has this one: the task is kept, and nothing is said of it.
            Asker::Thingspanel => {
                let record = self.payload.root().join("state-channels/thingspanel.json");
                self.payload.wait_for("the task", || {
                    fs::read_to_string(&record).is_ok_and(|record| record.contains(LATER))
                });
            }
            Asker::Quectel => self.module_sees("AT+QIOTUPDATE=0", |event| {
                *event == quectel::Event::Refused { to: plan(LATER).into() }
            }),
        }
    }

    /// Whether it was told how an upgrade fares, or fetched a file.
    fn hears_of_it(&self, asker: Asker) -> bool {
        match asker {
            Asker::Shell => false, // who was refused has ended
            Asker::Hawkbit => {
                let events = self.hawkbit.events().so_far();
                let words: Vec<String> = events.iter().filter_map(feedback).collect();
                words.iter().any(|word| word != "scheduled/none")
                    || events.iter().any(|event| matches!(event, hawkbit::Event::Download { .. }))
            }
            // The file is the answer to its question; no more of it is taken than its head.
            Asker::Luatos => {
                let log = fs::read_to_string(self.payload.log("channels")).unwrap();
                log.lines()
                    .any(|line| line.contains("the firmware") && !line.contains("is put off"))
            }
            Asker::Dji => self.dji.events().so_far().iter().any(|event| {
                matches!(event, dji::Event::Progress { .. } | dji::Event::Served { .. })
            }),
            Asker::Thingspanel => self.thingspanel.events().so_far().iter().any(|event| {
                matches!(
                    event,
                    thingspanel::Event::Progress { .. } | thingspanel::Event::Sent { .. }
                )
            }),
            Asker::Quectel => self.module.events().so_far().iter().any(|event| {
                matches!(
                    event,
                    quectel::Event::Accepted { .. }
                        | quectel::Event::Read { .. }
                        | quectel::Event::Updating
                )
            }),
        }
    }

    /// It hears that its upgrade has succeeded.
    #[track_caller]
    fn hears_of_success(&mut self, asker: Asker) {
        match asker {
            Asker::Shell => {
                let output = self.clients.pop().unwrap().wait_with_output().unwrap();
                assert!(output.status.success(), "{output:?}");
            }
            Asker::Hawkbit => {
                let seen = self.hawkbit.events().wait_for(LONG, |event| {
                    feedback(event).is_some_and(|word| word == "closed/success")
                });
                assert!(seen.is_some(), "{:#?}", self.hawkbit.events().so_far());
            }
            Asker::Luatos => {
                let seen = self.luatos.events().wait_for(LONG, |event| {
                    matches!(event, luatos::Event::Asked { version: Some(told), .. } if told == package(NEW))
                });
                assert!(seen.is_some(), "{:#?}", self.luatos.events().so_far());
            }
            Asker::Dji => self.dji_sees("ok", |event| {
                matches!(event, dji::Event::Progress { status, result: 0, .. } if status == "ok")
            }),
            Asker::Thingspanel => {
                let seen = self.thingspanel.events().wait_for(LONG, |event| {
                    matches!(event, thingspanel::Event::Progress { task: Some((_, thingspanel::State::Success)), .. })
                });
                assert!(seen.is_some(), "{:#?}", self.thingspanel.events().so_far());
            }
            Asker::Quectel => self.module_sees("success", |event| {
                *event == quectel::Event::Succeeded { to: plan(NEW).into() }
            }),
        }
    }

    #[track_caller]
    fn dji_sees(&self, what: &str, wanted: impl FnMut(&dji::Event) -> bool) {
        let seen = self.dji.events().wait_for(LONG, wanted);
        assert!(seen.is_some(), "{what} did not come: {:#?}", self.dji.events().so_far());
    }

    #[track_caller]
    fn module_sees(&self, what: &str, wanted: impl FnMut(&quectel::Event) -> bool) {
        let seen = self.module.events().wait_for(LONG, wanted);
        assert!(seen.is_some(), "{what} did not come: {:#?}", self.module.events().so_far());
    }

    /// Waits until the daemon has bytes of a file of this channel.
    #[track_caller]
    fn receives_from(&self, asker: Asker) {
        let receives = |status: &Status| {
            let upgrade = status.upgrade.as_ref();
            status.phase == Phase::Receiving
                && upgrade.is_some_and(|one| {
                    one.request.channel.as_str() == asker.channel() && one.progress.done > 0
                })
        };
        let received = self.payload.wait_for_status(receives);
        received.unwrap_or_else(|error| panic!("{error:#}: {:?}", self.payload.status()));
    }

    fn first_report_of(&self, channel: &str) -> Report {
        let history = self.payload.history();
        let first = history.into_iter().find(|report| report.request.channel.as_str() == channel);
        first.expect("it has ended")
    }
}

/// A version as DJI's platform has it.
fn target(version: &str) -> &'static str {
    if version == NEW { "02.00.0000" } else { "03.00.0000" }
}

/// And as Quectel's has it.
fn plan(version: &str) -> &'static str {
    if version == NEW { "2_0_0" } else { "3_0_0" }
}

/// And as LuatOS has it.
fn package(version: &str) -> &'static str {
    match version {
        OLD => "2012.010.000",
        NEW => "2012.020.000",
        _ => "2012.030.000",
    }
}

fn feedback(event: &hawkbit::Event) -> Option<String> {
    match event {
        hawkbit::Event::Feedback { execution, finished: Some(finished), .. } => {
            Some(format!("{execution}/{finished}"))
        }
        _ => None,
    }
}

/// One asks, and while its upgrade waits for the restart, so do all others.
#[track_caller]
fn has_the_payload_for_itself(asker: Asker) {
    let mut site = Site::new(None);
    site.ask(asker, NEW);
    let asked = site.payload.wait_for_restart_request_within(LONG);
    asked.unwrap_or_else(|error| panic!("{error:#}: {:?}", site.payload.status()));
    let others = Asker::ALL.into_iter().filter(|other| *other != asker);
    others.clone().for_each(|other| site.is_busy(other));
    for other in others.clone() {
        assert!(!site.hears_of_it(other), "{other:?} heard of {asker:?}'s upgrade");
    }
    assert!(site.payload.history().is_empty(), "nothing of the others was begun");
    let status = site.payload.status().unwrap();
    assert_eq!(status.upgrade.unwrap().request.channel.as_str(), asker.channel());
    site.payload.reboot();
    site.hears_of_success(asker);
    let report = site.first_report_of(asker.channel());
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    assert_eq!(site.payload.history()[0].id, report.id, "and was the first to end");
    // Of the places at the daemon's socket all of them together need no more than there are.
    assert!(!site.payload.logs().contains("all places at the"), "{}", site.payload.logs());
    // Those who are refused outright never hear of it.
    for other in others.filter(|other| matches!(other, Asker::Dji | Asker::Quectel)) {
        assert!(!site.hears_of_it(other), "{other:?} heard of {asker:?}'s upgrade");
    }
}

#[test]
fn i_4_while_a_person_upgrades_all_others_are_busy() {
    has_the_payload_for_itself(Asker::Shell);
}

#[test]
fn i_4_while_hawkbit_upgrades_all_others_are_busy() {
    has_the_payload_for_itself(Asker::Hawkbit);
}

#[test]
fn i_4_while_luatos_upgrades_all_others_are_busy() {
    has_the_payload_for_itself(Asker::Luatos);
}

#[test]
fn i_4_while_dji_s_cloud_upgrades_all_others_are_busy() {
    has_the_payload_for_itself(Asker::Dji);
}

#[test]
fn i_4_while_thingspanel_upgrades_all_others_are_busy() {
    has_the_payload_for_itself(Asker::Thingspanel);
}

#[test]
fn i_4_while_a_module_upgrades_all_others_are_busy() {
    has_the_payload_for_itself(Asker::Quectel);
}

/// Who waits is not forgotten.
#[test]
fn i_4_what_waited_for_another_upgrade_comes_after_it() {
    let mut site = Site::new(None);
    site.ask(Asker::Shell, NEW);
    site.payload.wait_for_restart_request().unwrap();
    site.is_busy(Asker::Hawkbit);
    site.payload.reboot();
    site.hears_of_success(Asker::Shell);
    site.payload.wait_for_restart_request_within(LONG).unwrap();
    site.payload.reboot();
    site.hears_of_success(Asker::Hawkbit);
    assert_eq!(site.payload.reported_version().unwrap(), LATER);
}

/// A platform's file is on its way when somebody nearer asks.
#[test]
fn i_4_a_person_comes_before_any_platform_until_it_is_installed() {
    for asker in [Asker::Dji, Asker::Hawkbit] {
        let mut site = Site::new(Some(30_000));
        site.ask(asker, LATER);
        site.receives_from(asker);
        site.ask(Asker::Shell, NEW);
        site.payload.wait_for_restart_request_within(LONG).unwrap();
        let report = site.first_report_of(asker.channel());
        let failure = report.failure.unwrap();
        assert_eq!((report.outcome, failure.kind), (Outcome::Failed, FailureKind::Cancelled));
        assert!(failure.sentence.contains("another one took its place (shell"), "{failure}");
        site.payload.reboot();
        site.hears_of_success(Asker::Shell);
        match asker {
            Asker::Dji => site.dji_sees("the end", |event| {
                matches!(event, dji::Event::Progress { status, .. } if status == "canceled")
            }),
            _ => {
                let seen = site.hawkbit.events().wait_for(LONG, |event| {
                    feedback(event).is_some_and(|word| word == "closed/failure")
                });
                assert!(seen.is_some(), "{:#?}", site.hawkbit.events().so_far());
            }
        }
    }
}

#[test]
fn i_4_the_link_comes_before_any_platform_until_it_is_installed() {
    let mut site = Site::new(Some(30_000));
    site.ask(Asker::Dji, LATER);
    site.receives_from(Asker::Dji);
    let firmware = site.sealed(NEW);
    let aircraft = site.payload.aircraft(Transfer::Dcftp, &firmware, &[]);
    site.payload.wait_for_restart_request_within(LONG).unwrap();
    let failure = site.first_report_of("dji-cloud").failure.unwrap();
    assert!(failure.sentence.contains("another one took its place (psdk"), "{failure}");
    site.payload.reboot();
    aircraft.hears("success");
    site.dji_sees(
        "the end",
        |event| matches!(event, dji::Event::Progress { status, .. } if status == "canceled"),
    );
    assert_eq!(site.payload.reported_version().unwrap(), NEW);
}
