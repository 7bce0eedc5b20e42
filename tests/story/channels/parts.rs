//! What a channel has handed over of a file outlives its process, the daemon's, and a restart of
//! the machine.

use std::io::Write as _;

use serde_json::{Value, json};
use uplift::model::{FailureKind, Outcome, Phase};

use super::{Client, NAME, ask, is_refused, signer, trusting};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

/// Bytes after which the daemon writes down how much is durable.
const KEPT_EVERY: usize = 16 << 20;
/// What is sent before a connection breaks off, in whole blocks of 4096 bytes: what is behind the
/// last one is sent again.
const SENT: usize = 244 * 4096;
const MORE: usize = 1220 * 4096;
const NOTE: &str = "https://user:secret@example.org/firmware?token=secret";

/// A payload, a file that is larger than what is written down at once, and an upgrade for it.
struct Begun {
    payload: Payload,
    content: Vec<u8>,
    id: String,
}

impl Begun {
    fn new() -> Self {
        let signer = signer();
        let payload = trusting(&signer);
        let firmware = payload.firmware_of(NEW, 40 << 20);
        signer.seal_file(&firmware).unwrap();
        let content = std::fs::read(firmware).unwrap();
        let id = Client::of(&payload).begin();
        Self { payload, content, id }
    }

    fn request(&self) -> Value {
        json!({
            "request": "receive", "upgrade": self.id, "file": {"name": NAME, "size": self.content.len()},
        })
    }

    /// Sends up to so many bytes, behind what is there.
    fn send(&self, client: &mut Client, until: usize) -> usize {
        let answer = client.ask(&self.request());
        assert_eq!(answer["answer"], "send", "{answer}");
        let offset = usize::try_from(answer["offset"].as_u64().unwrap()).unwrap();
        for piece in self.content[offset..until].chunks(256 << 10) {
            client
                .0
                .get_mut()
                .write_all(&u32::try_from(piece.len()).unwrap().to_be_bytes())
                .unwrap();
            client.0.get_mut().write_all(piece).unwrap();
        }
        offset
    }

    fn part(&self) -> Value {
        ask(&self.payload, &json!({"request": "part", "upgrade": self.id}))["part"].clone()
    }

    fn offset(&self) -> usize {
        usize::try_from(self.part()["offset"].as_u64().unwrap_or_default()).unwrap()
    }

    /// Sends what is missing, and has it installed. The offset that it was told.
    fn ends(mut self) -> usize {
        let mut client = Client::of(&self.payload);
        let offset = self.send(&mut client, self.content.len());
        client.0.get_mut().write_all(&[0; 4]).unwrap();
        assert_eq!(client.answer()["answer"], "stored");
        let checked = client.ask(&json!({"request": "check", "upgrade": self.id}));
        assert_eq!(checked["package"]["version"], NEW, "{checked}");
        assert_eq!(client.ask(&json!({"request": "start", "upgrade": self.id}))["answer"], "done");
        self.payload.restart_when_asked();
        self.payload.wait_for("the report", || !self.payload.history().is_empty());
        let report = self.payload.last_report();
        assert_eq!((report.outcome, report.id.0), (Outcome::Succeeded, self.id.clone()));
        assert!(!self.payload.state().join("part.json").exists(), "nothing is left of it");
        offset
    }
}

#[test]
fn a_client_that_leaves_goes_on_where_it_was() {
    let begun = Begun::new();
    let mut client = Client::of(&begun.payload);
    assert_eq!(begun.send(&mut client, SENT), 0);
    drop(client);
    begun.payload.wait_for("what came", || begun.offset() == SENT);
    assert_eq!(begun.ends(), SENT);
}

#[test]
fn a_daemon_that_is_killed_goes_on_with_what_was_durable() {
    let mut begun = Begun::new();
    let mut client = Client::of(&begun.payload);
    begun.send(&mut client, 39 << 20);
    begun.payload.wait_for("what is written down", || begun.offset() >= KEPT_EVERY);
    begun.payload.kill_daemon();
    begun.payload.start_daemon().unwrap();
    assert_eq!(begun.payload.status().unwrap().phase, Phase::Receiving);
    let offset = begun.offset();
    assert!((KEPT_EVERY..=39 << 20).contains(&offset), "{offset}");
    assert_eq!(begun.ends(), offset);
}

#[test]
fn a_restart_of_the_machine_loses_nothing_that_was_durable() {
    let mut begun = Begun::new();
    let mut client = Client::of(&begun.payload);
    begun.send(&mut client, MORE + 4095);
    drop(client);
    begun.payload.wait_for("what came", || begun.offset() == MORE);
    begun.payload.reboot();
    assert_eq!(begun.ends(), MORE);
}

#[test]
fn what_was_whole_when_the_daemon_died_is_not_sent_again() {
    let mut begun = Begun::new();
    let mut client = Client::of(&begun.payload);
    begun.send(&mut client, begun.content.len());
    client.0.get_mut().write_all(&[0; 4]).unwrap();
    assert_eq!(client.answer()["answer"], "stored");
    begun.payload.restart_daemon();
    assert_eq!(begun.offset(), begun.content.len());
    let whole = begun.content.len();
    assert_eq!(begun.ends(), whole);
}

#[test]
fn another_file_is_received_from_its_beginning() {
    let begun = Begun::new();
    let mut client = Client::of(&begun.payload);
    begun.send(&mut client, SENT);
    drop(client);
    begun.payload.wait_for("what came", || begun.offset() == SENT);
    let other = json!({
        "request": "receive", "upgrade": begun.id, "file": {"name": NAME, "size": 7},
    });
    assert_eq!(ask(&begun.payload, &other), json!({"answer": "send", "offset": 0}));
    begun.payload.wait_for("its end", || begun.part()["size"] == 7);
    let received = std::fs::read_dir(begun.payload.stage()).unwrap().flatten();
    let received =
        received.filter(|name| name.file_name().to_string_lossy().starts_with("incoming-"));
    assert_eq!(received.count(), 1, "the part before it is gone");
}

#[test]
fn a_note_is_kept_with_the_part_and_nobody_else_sees_it() {
    let mut begun = Begun::new();
    let note = json!({"request": "note", "upgrade": begun.id, "note": NOTE});
    is_refused(&ask(&begun.payload, &note));
    let mut client = Client::of(&begun.payload);
    begun.send(&mut client, SENT);
    assert_eq!(ask(&begun.payload, &note)["answer"], "done");
    drop(client);
    begun.payload.wait_for("what came", || begun.offset() == SENT);
    let long = json!({"request": "note", "upgrade": begun.id, "note": "x".repeat(8193)});
    is_refused(&ask(&begun.payload, &long));
    begun.payload.restart_daemon();
    assert_eq!(begun.part()["note"], NOTE);
    let (_, status) = begun.payload.uplift(&["status", "--json"]);
    let mut watch = Client::of(&begun.payload);
    let own = watch.ask(&json!({"request": "watch", "channel": "loopback"})).to_string();
    let failure = json!({"kind": "cancelled", "sentence": "gone", "causes": []});
    let abandon = json!({"request": "abandon", "upgrade": begun.id, "failure": failure});
    assert_eq!(ask(&begun.payload, &abandon)["answer"], "done");
    let (_, history) = begun.payload.uplift(&["history", "--json"]);
    let state = std::fs::read_to_string(begun.payload.state().join("state.json")).unwrap();
    for text in [status, own, history, state, begun.payload.logs()] {
        assert!(!text.contains("secret"), "{text}");
    }
    assert!(!begun.payload.state().join("part.json").exists());
}

#[test]
fn a_person_comes_before_a_file_that_comes_over_days() {
    let mut begun = Begun::new();
    let mut client = Client::of(&begun.payload);
    begun.send(&mut client, SENT);
    drop(client);
    begun.payload.wait_for("what came", || begun.offset() == SENT);
    let begin = json!({
        "request": "begin", "channel": "loopback", "requester": "another", "waits": true,
    });
    assert_eq!(is_refused(&ask(&begun.payload, &begin)), "busy");
    let firmware = std::fs::read_dir(begun.payload.root()).unwrap().flatten();
    let firmware = firmware.map(|file| file.path()).find(|path| path.ends_with(NAME)).unwrap();
    let client = begun.payload.install_file(&firmware);
    begun.payload.restart_when_asked();
    assert!(client.wait_with_output().unwrap().status.success());
    let history = begun.payload.history();
    let failure = history[0].failure.as_ref().unwrap();
    assert_eq!((history[0].id.0.as_str(), failure.kind), (&*begun.id, FailureKind::Cancelled));
    assert_eq!(history.last().unwrap().outcome, Outcome::Succeeded);
}

#[test]
fn a_part_of_which_no_more_comes_is_given_up() {
    let signer = signer();
    let section = format!("{}\n[policy]\nlongest_wait = \"2s\"", signer.trusted_section());
    let payload = super::payload(&section, "");
    let id = Client::of(&payload).ask(&json!({
        "request": "begin", "channel": "loopback", "requester": "somebody", "waits": true,
    }))["upgrade"]
        .clone();
    let mut client = Client::of(&payload);
    let request =
        json!({"request": "receive", "upgrade": id, "file": {"name": NAME, "size": 1_000_000}});
    assert_eq!(client.ask(&request)["answer"], "send");
    drop(client);
    payload.wait_for("its end", || !payload.history().is_empty());
    let failure = payload.last_report().failure.unwrap();
    assert!(
        failure.kind == FailureKind::Timeout && failure.sentence.contains("bytes came"),
        "{failure}"
    );
    assert_eq!(payload.reported_version().unwrap(), OLD);
}
