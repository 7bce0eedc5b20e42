//! Network channels: a process without rights asks for upgrades over a socket of its own, and what
//! it may not, it can't.

mod files;
mod parts;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use uplift::model::{ChannelState, FailureKind, Outcome, Phase};
use uplift_sim::signer::Signer;

use crate::world::local_socket;
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

const NAME: &str = "PSDK_APPALIAS_V02.00.00.00.bin";

fn signer() -> Signer {
    Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap()
}

/// A payload with a channel, of which the process does not run.
fn payload(package: &str, channel: &str) -> Payload {
    let channel = format!("[channel.loopback]\nsocket = \"ROOT/run/offers.sock\"\n{channel}\n");
    Payload::setup().sections(&format!("[package]\n{package}\n{channel}")).start()
}

fn trusting(signer: &Signer) -> Payload {
    payload(&signer.trusted_section(), "")
}

impl Payload {
    fn sealed_firmware(&self, signer: &Signer) -> PathBuf {
        let firmware = self.new_firmware();
        signer.seal_file(&firmware).unwrap();
        firmware
    }

    fn offer(&self, firmware: &Path) {
        let mut offers = UnixStream::connect(self.root().join("run/offers.sock")).unwrap();
        offers.write_all(format!("{}\n", firmware.display()).as_bytes()).unwrap();
    }

    fn channels_socket(&self) -> PathBuf {
        self.control_socket().with_file_name("channels.sock")
    }
}

/// A client of `channels.sock`, as whoever has taken over the process would be.
struct Client(BufReader<UnixStream>);

impl Client {
    fn of(payload: &Payload) -> Self {
        Self(BufReader::new(local_socket::connect(&payload.channels_socket())))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.0.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn begin(&mut self) -> String {
        let request = json!({
            "request": "begin", "channel": "loopback", "requester": "somebody", "waits": true,
        });
        let answer = self.ask(&request);
        answer["upgrade"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn hand_over(&mut self, upgrade: &str, content: &[u8]) -> Value {
        let announced = json!({
            "request": "receive", "upgrade": upgrade, "file": {"name": NAME, "size": content.len()},
        });
        assert_eq!(self.ask(&announced), json!({"answer": "send", "offset": 0}));
        self.send(content);
        self.answer()
    }

    /// All bytes of a file, in pieces.
    fn send(&mut self, content: &[u8]) {
        for piece in content.chunks(100_000) {
            let length = u32::try_from(piece.len()).unwrap();
            self.0.get_mut().write_all(&length.to_be_bytes()).unwrap();
            self.0.get_mut().write_all(piece).unwrap();
        }
        self.0.get_mut().write_all(&[0; 4]).unwrap();
    }
}

/// Asks once, over a connection of its own.
fn ask(payload: &Payload, request: &Value) -> Value {
    Client::of(payload).ask(request)
}

#[track_caller]
fn is_refused(answer: &Value) -> String {
    assert_eq!(answer["answer"], "failure", "{answer}");
    answer["failure"]["kind"].as_str().unwrap().to_owned()
}

#[test]
fn a_channel_upgrades_and_its_report_is_acknowledged() {
    let signer = signer();
    let mut payload = trusting(&signer);
    assert_eq!(payload.status().unwrap().channels[0].state, ChannelState::Unknown);
    payload.start_channels().unwrap();
    payload.wait_for_status(|status| status.channels[0].state == ChannelState::Works).unwrap();
    let firmware = payload.sealed_firmware(&signer);
    payload.offer(&firmware);
    payload.restart_when_asked();
    payload
        .wait_for_status(|status| {
            status.phase == Phase::Idle && status.unacknowledged.is_empty() && status.last.is_some()
        })
        .unwrap();
    let report = payload.last_report();
    assert_eq!((report.outcome, report.request.channel.as_str()), (Outcome::Succeeded, "loopback"));
    assert_eq!(report.request.reference.unwrap().as_str(), firmware.to_str().unwrap());
    assert_eq!(payload.reported_version().unwrap(), NEW);
    let (_, shown) = payload.uplift(&["status"]);
    assert!(shown.contains("loopback: works") && shown.contains("by loopback"), "{shown}");
}

#[test]
fn what_no_trusted_key_has_sealed_is_refused_whatever_the_configuration_says() {
    let signer = signer();
    let package = format!("seal = \"optional\"\n{}", signer.trusted_section());
    let mut payload = payload(&package, "");
    payload.start_channels().unwrap();
    let firmware = payload.new_firmware();
    for kind in [FailureKind::SealMissing, FailureKind::SealInvalid] {
        payload.offer(&firmware);
        payload
            .wait_for_status(|status| {
                status.last.as_ref().is_some_and(|last| {
                    last.failure.as_ref().is_some_and(|failure| failure.kind == kind)
                })
            })
            .unwrap();
        if kind == FailureKind::SealMissing {
            // By a key that nobody trusts.
            self::signer().seal_file(&firmware).unwrap();
        }
    }
    assert_eq!(payload.reported_version().unwrap(), OLD);
    // A person at the shell may.
    let client = payload.install();
    payload.restart_when_asked();
    assert!(client.wait_with_output().unwrap().status.success());
}

#[test]
fn a_channel_without_a_key_is_a_mistake_and_a_lab_says_so() {
    let payload = Payload::setup().stopped();
    let section = "[channel.loopback]\nsocket = \"/run/offers.sock\"\n";
    payload.edit_config(|text| text + section);
    let (code, said) = payload.uplift(&["config", "check"]);
    assert!(code == Some(2) && said.contains("needs a seal"), "{said}");
    let mut payload = self::payload("", "unsealed = \"lab\"");
    payload.start_channels().unwrap();
    let (_, shown) = payload.uplift(&["status"]);
    assert!(shown.contains("lab: it may bring what nobody has sealed"), "{shown}");
    let firmware = payload.new_firmware();
    payload.offer(&firmware);
    payload.restart_when_asked();
    payload.wait_for("the report", || payload.history().len() == 1);
    assert_eq!(payload.last_report().outcome, Outcome::Succeeded);
}

#[test]
fn a_channel_replaces_nothing_that_it_is_not_given() {
    let signer = signer();
    let camera = "[component.camera]\npath = \"ROOT/bin/camera\"\nproduct = \"CAMERA\"\n";
    let section = format!("{}\n{camera}", signer.trusted_section());
    let payload = payload(&section, "components = [\"camera\"]");
    let mut client = Client::of(&payload);
    let id = client.begin();
    let announced = json!({"request": "receive", "upgrade": id, "file": {"name": NAME, "size": 9}});
    assert_eq!(is_refused(&client.ask(&announced)), "wrong-product");
    assert_eq!(payload.last_report().failure.unwrap().kind, FailureKind::WrongProduct);
}

#[test]
fn the_process_says_what_it_has_to_do() {
    let payload = Payload::setup().stopped();
    let (code, said) = payload.uplift(&["channels"]);
    assert!(code == Some(1) && said.contains("no network channel"), "{said}");
}

#[test]
fn whoever_has_taken_over_the_process_can_do_nothing_that_a_channel_may_not() {
    let signer = signer();
    let payload = trusting(&signer);
    for request in [
        json!({"request": "status"}),
        json!({"request": "history"}),
        json!({"request": "confirm"}),
        json!({"request": "rollback"}),
        json!({"request": "hold"}),
        json!({"request": "release"}),
        json!({"request": "install", "file": {"name": NAME, "size": 9}}),
        json!({"request": "begin", "channel": "loopback", "requester": "me", "forced": true}),
        json!({"request": "begin", "channel": "loopback", "requester": "me", "sealed": false}),
        json!({"request": "begin", "channel": "loopback", "requester": "me", "reference": "x".repeat(1025)}),
        json!({"request": "begin", "channel": "shell", "requester": "uid 0"}),
        json!({"request": "begin", "channel": "psdk", "requester": "0x2a"}),
        json!({"request": "begin", "channel": "hawkbit", "requester": "me"}),
        json!({"request": "watch", "channel": "psdk"}),
        json!({"request": "acknowledge", "channel": "psdk"}),
        json!({"request": "start", "upgrade": "none"}),
        json!({"request": "check", "upgrade": "none"}),
        json!({"request": "receive", "upgrade": "none", "file": {"name": NAME, "size": 9}}),
        json!({"request": "tell", "status": {"name": "psdk", "state": "works", "sentence": ""}}),
    ] {
        is_refused(&ask(&payload, &request));
    }
    let told = json!({
        "name": "loopback", "state": "works", "sentence": "x".repeat(5000), "unsealed": true,
    });
    assert_eq!(ask(&payload, &json!({"request": "tell", "status": told}))["answer"], "done");
    let channel = &payload.status().unwrap().channels[0];
    assert!(!channel.unsealed && channel.sentence.len() == 200, "{channel:?}");
    assert_eq!(payload.status().unwrap().phase, Phase::Idle);
}

#[test]
fn another_s_upgrade_and_its_report_are_nobody_else_s() {
    let signer = signer();
    let mut payload = trusting(&signer);
    let firmware = payload.sealed_firmware(&signer);
    // Somebody at the shell, who sends nothing.
    let request = format!(
        "{{\"request\":\"install\",\"file_name\":\"{NAME}\",\"size\":{}}}\n",
        firmware.metadata().unwrap().len()
    );
    let mut shell = UnixStream::connect(payload.control_socket()).unwrap();
    shell.write_all(request.as_bytes()).unwrap();
    let status = payload.wait_for_phase(Phase::Receiving);
    let id = status.upgrade.unwrap().id;
    let mut watch = Client::of(&payload);
    let mut own = watch.ask(&json!({"request": "watch", "channel": "loopback"}));
    assert!(own.as_object_mut().unwrap().remove("boot").is_some());
    let version = &status.components[0].version;
    let program = json!({"component": "program", "product": "PSDK_APPALIAS", "version": version});
    let nothing_of_theirs = json!({"answer": "own", "upgrade": null, "busy": true, "reports": [], "components": [program], "not_now": null});
    assert_eq!(own, nothing_of_theirs);
    let begin = json!({"request": "begin", "channel": "loopback", "requester": "me"});
    assert_eq!(is_refused(&ask(&payload, &begin)), "busy");
    let failure = json!({"kind": "cancelled", "sentence": "gone", "causes": []});
    for request in [
        json!({"request": "receive", "upgrade": id, "file": {"name": NAME, "size": 9}}),
        json!({"request": "start", "upgrade": id}),
        json!({"request": "abandon", "upgrade": id, "failure": failure}),
    ] {
        assert_eq!(is_refused(&ask(&payload, &request)), "cancelled", "{request}");
    }
    drop(shell);
    payload.wait_for_phase(Phase::Idle);
    let client = payload.install_file(&firmware);
    payload.restart_when_asked();
    drop(client.wait_with_output());
    assert_eq!(watch.answer()["busy"], false);
}

#[test]
fn a_file_is_checked_and_started_by_the_conversation_that_sent_it() {
    let signer = signer();
    let mut payload = trusting(&signer);
    let content = std::fs::read(payload.sealed_firmware(&signer)).unwrap();
    let mut client = Client::of(&payload);
    let id = client.begin();
    let check = json!({"request": "check", "upgrade": id});
    is_refused(&ask(&payload, &check));
    assert_eq!(client.hand_over(&id, &content), json!({"answer": "stored", "size": content.len()}));
    let checked = client.ask(&check);
    assert_eq!(checked["package"]["version"], NEW, "{checked}");
    assert_eq!(client.ask(&json!({"request": "start", "upgrade": id}))["answer"], "done");
    payload.restart_when_asked();
    let mut watch = Client::of(&payload);
    let mut own = watch.ask(&json!({"request": "watch", "channel": "loopback"}));
    while own["reports"][0]["outcome"] != "succeeded" {
        own = watch.answer();
    }
    ask(&payload, &json!({"request": "acknowledge", "channel": "loopback"}));
    assert!(payload.status().unwrap().unacknowledged.is_empty());
}

#[test]
fn a_client_in_another_language_hands_a_file_over() {
    let signer = signer();
    let mut payload = trusting(&signer);
    let firmware = payload.sealed_firmware(&signer);
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/story/hand_over/client.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(client).arg(payload.channels_socket()).arg("loopback").arg(firmware);
    let mut running =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    payload.wait_for_restart_request().unwrap();
    // The daemon stays: what restarts is the program.
    payload.restart_program().unwrap();
    let mut said = String::new();
    for line in BufReader::new(running.stdout.take().unwrap()).lines() {
        said += &(line.unwrap() + "\n");
    }
    let output = running.wait_with_output().unwrap();
    assert_eq!(said, format!("checked {NEW}\nsucceeded\n"), "{output:?}");
    assert!(payload.status().unwrap().unacknowledged.is_empty());
}

#[test]
fn clients_that_mean_harm_hold_neither_the_engine_nor_a_place() {
    let signer = signer();
    let mut payload = trusting(&signer);
    let _silent: Vec<Client> = (0..60).map(|_| Client::of(&payload)).collect();
    let mut client = Client::of(&payload);
    let id = client.begin();
    let request =
        json!({"request": "receive", "upgrade": id, "file": {"name": NAME, "size": 1_000_000}});
    assert_eq!(client.ask(&request)["answer"], "send");
    // A piece that is longer than any may be.
    client.0.get_mut().write_all(&[255; 8]).unwrap();
    let mut rest = String::new();
    assert_eq!(client.0.read_line(&mut rest).unwrap_or(0), 0, "{rest}");
    // Whoever comes back begins anew, and a person comes before nobody.
    let mut client = Client::of(&payload);
    let id = client.begin();
    let failure = json!({"kind": "cancelled", "sentence": "gone", "causes": []});
    let abandon = json!({"request": "abandon", "upgrade": id, "failure": failure});
    assert_eq!(client.ask(&abandon)["answer"], "done");
    let installing = payload.install_file(&payload.sealed_firmware(&signer));
    payload.restart_when_asked();
    assert!(installing.wait_with_output().unwrap().status.success());
}

#[test]
fn the_socket_is_for_its_group_alone_and_there_only_where_a_channel_is() {
    assert!(nix::unistd::geteuid().is_root(), "this test looks at owners: run it as root");
    let payload = trusting(&signer());
    let metadata = payload.channels_socket().metadata().unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.uid()), (0o660, 0));
    assert!(!Payload::setup().start().channels_socket().exists());
}
