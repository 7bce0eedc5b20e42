//! The token: for its own server alone, and never shown.

use uplift_sim::cloud::delivery::{Delivery, Redirect};
use uplift_sim::cloud::hawkbit::{Auth, Event, Lie, Options};

use super::site::{DEVICE, Site};
use crate::world::payload::Payload;

const TOKEN: &str = "0123456789abcdef-the-token";

fn site(options: Options, kind: &str, token: &str) -> Site {
    let section = format!("{kind}_token_file = \"ROOT/token\"");
    let site = Site::with(Payload::setup(), options, &section);
    std::fs::write(site.payload.root().join("token"), format!("{token}\n")).unwrap();
    site
}

fn target(options: Options) -> Options {
    Options { auth: Auth::Target(TOKEN.to_owned()), ..options }
}

/// HB-14, DL-10: a link, and a redirection, to another origin.
#[test]
fn hb_14_a_token_goes_to_its_own_server_alone() {
    let redirect = Delivery { redirect: Redirect::Elsewhere, ..Delivery::default() };
    for options in [
        Options { cdn: true, ..Options::default() },
        Options { delivery: redirect, ..Options::default() },
    ] {
        let mut site = site(target(options), "target", TOKEN);
        let action = site.offer_new();
        site.payload.restart_when_asked();
        site.succeeds(action);
        is_not_shown(&site, TOKEN);
    }
}

#[test]
fn hb_14_a_link_to_a_deployment_elsewhere_is_asked_without_the_token() {
    let mut site = site(target(Options::default()), "target", TOKEN);
    let href =
        format!("{}/DEFAULT/controller/v1/{DEVICE}/deploymentBase/10", site.server.elsewhere());
    site.server.change(|options| options.lies = vec![Lie::PollHref(href)]);
    let action = site.offer_new();
    site.is_polled(3);
    assert_eq!(site.words(action), Vec::<String>::new());
    site.is_sound();
    is_not_shown(&site, TOKEN);
}

#[test]
fn a_gateway_s_token_lets_a_device_in() {
    let options = Options { auth: Auth::Gateway(TOKEN.to_owned()), ..Options::default() };
    let mut site = site(options, "gateway", TOKEN);
    let action = site.offer_new();
    site.payload.restart_when_asked();
    site.succeeds(action);
    is_not_shown(&site, TOKEN);
}

#[test]
fn a_wrong_token_is_said_in_words_and_not_shown() {
    let wrong = "another-token-of-32-characters";
    let mut site = site(target(Options::default()), "target", wrong);
    site.polls();
    let status =
        site.shows("does not let this device in (status 401): look at its name, and at its token");
    assert!(!status.contains("hawkbit: works"), "{status}");
    site.sees("a refusal", |event| matches!(event, Event::Refused { status: 401, .. }));
    is_not_shown(&site, wrong);
}

fn is_not_shown(site: &Site, token: &str) {
    let shown = [
        site.log(),
        site.payload.logs(),
        site.payload.uplift(&["status"]).1,
        site.payload.uplift(&["status", "--json"]).1,
        site.payload.uplift(&["history", "--json"]).1,
    ];
    assert!(shown[0].len() > 10, "the log has something");
    assert!(!shown.concat().contains(token));
}
