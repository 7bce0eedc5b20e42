//! A hawkBit server upgrades the payload: offers, feedback, cancellation, confirmation, and what
//! goes wrong on the way, against the simulated server (docs/use/simulated-clouds.md). The numbers
//! of rules are those of docs/use/simulated-clouds.md's interface: HB- of hawkBit, DL- of
//! downloads.

mod asked;
mod ends;
mod goosebit;
mod lies;
mod lost;
mod microcontroller;
mod resumed;
mod secrets;
mod several;
mod site;
mod tls;

use uplift::model::{ChannelState, Outcome};
use uplift_sim::cloud::hawkbit::State;

use crate::world::payload::NEW;
use crate::world::watched::Watched as _;
use site::{DEVICE, Site};

#[test]
fn hb_10_an_action_is_closed_when_the_new_program_has_proved_itself() {
    let mut site = Site::new();
    let action = site.offer_new();
    site.payload.wait_for_restart_request().unwrap();
    assert_eq!(site.server.state(DEVICE, action), Some(State::Running), "not before the trial");
    site.payload.reboot();
    let details = site.succeeds(action);
    assert!(details.contains(&format!("PSDK_APPALIAS {NEW} runs")), "{details}");
    let words = site.words(action);
    assert!(words[..words.len() - 1].iter().all(|word| word.ends_with("/none")), "{words:?}");
    let report = site.report();
    assert_eq!((report.outcome, report.request.channel.as_str()), (Outcome::Succeeded, "hawkbit"));
    assert_eq!(site.payload.reported_version().unwrap(), NEW);
    // Once it is over the server asks what runs, and hears the new version.
    site.is_polled(2);
    let attributes = site.server.attributes(DEVICE);
    assert!(attributes.contains(&("sw_version".to_owned(), "2.0.0".to_owned())), "{attributes:?}");
    // Told once.
    let words = site.words(action);
    assert_eq!(words.iter().filter(|word| word.starts_with("closed")).count(), 1, "{words:?}");
    let shown = site.payload.uplift(&["status"]).1;
    assert!(shown.contains("hawkbit: works"), "{shown}");
    assert_eq!(site.payload.status().unwrap().channels[0].state, ChannelState::Works);
}

#[test]
fn config_check_names_the_channel_and_what_it_may_replace() {
    let site = Site::new();
    let (_, said) = site.payload.uplift(&["config", "check"]);
    assert!(said.contains("\n  channel  hawkbit may replace program\n  link     none\n"), "{said}");
    let site = Site::of(uplift_sim::cloud::hawkbit::Options::default(), "unsealed = \"lab\"");
    let (_, said) = site.payload.uplift(&["config", "check"]);
    assert!(
        said.contains("hawkbit may replace program; lab: also what nobody has sealed"),
        "{said}"
    );
}
