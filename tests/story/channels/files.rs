//! What a channel may say of a file that it hands over, and what it need not.

use serde_json::{Value, json};
use uplift::digest::{Beside, Hasher};

use super::{Client, NAME, is_refused, signer, trusting};
use crate::world::payload::{NEW, Payload};

/// A payload that trusts a key, an upgrade, and a sealed file for it.
struct Begun {
    payload: Payload,
    content: Vec<u8>,
    client: Client,
    id: String,
}

impl Begun {
    fn new() -> Self {
        let signer = signer();
        let payload = trusting(&signer);
        let content = std::fs::read(payload.sealed_firmware(&signer)).unwrap();
        let mut client = Client::of(&payload);
        let id = client.begin();
        Self { payload, content, client, id }
    }

    /// Hands over what is in hand as this file.
    fn hand_over(&mut self, file: &Value) -> Value {
        let request = json!({"request": "receive", "upgrade": self.id, "file": file});
        let answer = self.client.ask(&request);
        assert_eq!(answer, json!({"answer": "send", "offset": 0}));
        self.client.send(&self.content);
        self.client.answer()
    }

    fn check(&mut self) -> Value {
        self.client.ask(&json!({"request": "check", "upgrade": self.id}))
    }
}

#[test]
fn a_file_without_a_name_has_the_one_that_its_seal_says() {
    let mut begun = Begun::new();
    let stored = begun.hand_over(&json!({}));
    assert_eq!(stored, json!({"answer": "stored", "size": begun.content.len()}));
    let checked = begun.check();
    assert_eq!(checked["package"]["file_name"], NAME, "{checked}");
    assert_eq!(checked["package"]["version"], NEW);
    let part = begun.client.ask(&json!({"request": "part", "upgrade": begun.id}));
    assert_eq!(part["part"]["file_name"], Value::Null, "{part}");
}

#[test]
fn a_file_that_has_neither_name_nor_seal_is_refused() {
    let mut begun = Begun::new();
    begun.content = std::fs::read(begun.payload.new_firmware()).unwrap();
    begun.hand_over(&json!({"size": begun.content.len()}));
    assert_eq!(is_refused(&begun.check()), "seal-missing");
}

#[test]
fn the_strongest_digest_that_was_announced_decides() {
    let sha1 = "e9dded8c84614e894501965af60c2525794a8c7d";
    let md5 = "2bcd3c4de20c918e19fab5c36249c70d";
    let wrong = "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193";
    for digests in [json!({"sha1": sha1}), json!({"md5": md5}), json!({"sha256": wrong})] {
        let mut begun = Begun::new();
        let answer = begun.hand_over(&json!({"name": NAME, "digests": digests}));
        assert_eq!(is_refused(&answer), "digest-mismatch", "{digests}");
    }
    let mut begun = Begun::new();
    let digests = json!({"sha256": sha256(&begun.content), "sha1": sha1, "md5": md5});
    let answer = begun.hand_over(&json!({"name": NAME, "digests": digests}));
    assert_eq!(answer["answer"], "stored", "weaker ones are not looked at: {answer}");
}

#[test]
fn what_begins_anew_begins_at_the_first_byte() {
    let mut begun = Begun::new();
    begun.hand_over(&json!({"name": NAME, "size": begun.content.len(), "note": "a validator"}));
    let again = |anew| {
        let file = json!({"name": NAME, "size": begun.content.len(), "anew": anew});
        json!({"request": "receive", "upgrade": begun.id, "file": file})
    };
    let part = Client::of(&begun.payload).ask(&json!({"request": "part", "upgrade": begun.id}));
    assert_eq!(part["part"]["note"], "a validator", "{part}");
    let all = json!({"answer": "send", "offset": begun.content.len()});
    assert_eq!(Client::of(&begun.payload).ask(&again(false)), all);
    let nothing = json!({"answer": "send", "offset": 0});
    assert_eq!(Client::of(&begun.payload).ask(&again(true)), nothing);
}

fn sha256(content: &[u8]) -> String {
    let mut hasher = Hasher::new(Beside::default());
    hasher.update(content);
    hasher.finish().file.to_string()
}
