//! The access token stands in topics, and URLs of files may hold secrets: nobody else reads them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use uplift::model::{ChannelState, Phase};
use uplift_sim::cloud::broker::Choice;
use uplift_sim::cloud::thingspanel::{Options, State, Task, Way};

use super::{Site, TOKEN, v05};
use crate::world::mosquitto::Setup as Broker;
use crate::world::payload::Payload;

const SECRET: &str = "signature-of-the-url";

impl Site {
    /// Neither in what its processes say, nor in what others may read.
    #[track_caller]
    fn is_nowhere(&self, secret: &str) {
        let mut said = self.payload.logs();
        for arguments in
            [&["status"][..], &["status", "--json"], &["history", "--json"], &["metrics"]]
        {
            said += &self.payload.uplift(arguments).1;
        }
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn the_token_is_not_shown_whatever_the_broker_does() {
    let topic = format!("ota/device/inform/{TOKEN}");
    let broker = Broker::new().refuse_subscriptions(&[&topic]).start();
    let choice = Choice { url: Some(broker.url()), ..Choice::default() };
    let site = Site::new(Options { broker: choice, ..v05() });
    site.says(ChannelState::Fails, "ota/device/inform/{device}");
    site.is_nowhere(TOKEN);
}

/// As a user of the broker, it stands in a file, too.
#[test]
fn the_token_is_not_shown_as_a_user_of_the_broker() {
    let broker = Broker::new().users(&[(TOKEN, "anything"), ("platform", "secret")]).start();
    let login = uplift_sim::cloud::broker::Login {
        user: "platform".to_owned(),
        password: "secret".to_owned(),
    };
    let choice = Choice { url: Some(broker.url()), login: Some(login), ..Choice::default() };
    let mut site = Site::silent(Payload::setup(), Options { broker: choice, ..v05() }, "");
    site.payload.edit_config(|text| {
        let user = "[broker.cloud]\nuser_file = \"TOKEN\"\npassword_file = \"PASSWORD\"\n";
        text.replace("[broker.cloud]\n", user)
    });
    let token = site.payload.root().join("token");
    let password = site.payload.root().join("password");
    fs::write(&password, "anything\n").unwrap();
    let (token, password) =
        (token.to_str().unwrap().to_owned(), password.to_str().unwrap().to_owned());
    site.payload.edit_config(|text| text.replace("TOKEN", &token).replace("PASSWORD", &password));
    site.payload.restart_daemon();
    site.payload.start_channels().unwrap();
    site.says(ChannelState::Works, "hears tasks");
    site.reported(1);
    site.is_nowhere(TOKEN);
    // A wrong one is told without it.
    fs::write(site.payload.root().join("password"), "wrong\n").unwrap();
    site.restart_channels();
    site.says(ChannelState::Waits, "does not let us in");
    site.is_nowhere(TOKEN);
}

#[test]
fn the_url_of_a_file_is_shown_to_nobody() {
    let way = Way { rate: Some(100_000), ..Way::default() };
    let mut site = Site::new(Options { way, ..v05() });
    let path = "/api/ota/download/files/upgradePackage/2026-01-01/package.bin";
    let url = format!("{}{path}?sign={SECRET}", site.server.url());
    let id = site.server.push(&Task { url: Some(url), ..site.task() }).unwrap();
    site.payload.wait_for_phase(Phase::Receiving);
    site.is_nowhere(SECRET);
    // It is kept, because it is needed again, where nobody else reads.
    let record = site.payload.root().join("state-channels/thingspanel.json");
    assert!(fs::read_to_string(&record).unwrap().contains(SECRET));
    assert_eq!(fs::metadata(&record).unwrap().mode() & 0o077, 0);
    site.restart_channels();
    site.succeeds(&id);
    assert_eq!(site.server.state(&id), Some(State::Success));
    site.is_nowhere(SECRET);
    assert!(!fs::read_to_string(&record).unwrap().contains(SECRET), "only while it is needed");
    let wrong = Task {
        url: Some(format!("http://127.0.0.1:1/?sign={SECRET}\n")),
        ..site.task_of("V03.00.00.00", 10_000)
    };
    let id = site.server.push(&wrong).unwrap();
    site.stands(&id, State::Failed);
    site.is_nowhere(SECRET);
}
