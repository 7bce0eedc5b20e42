//! What a poll is answered: how long to wait, and links to what is to be done. And the answer to
//! the link of a cancellation.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::{Id, Senseless, read, sleep};
use crate::channel::offer::Action;

/// The answer to a poll. What is not known of it is passed over (HB-2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Base {
    /// The server's word on when to poll again; [`Base::pause`] is what to keep.
    pub(crate) sleep: Option<Duration>,
    /// Something is to be installed.
    pub(crate) deployment: Option<Link>,
    /// Something is to be taken back.
    pub(crate) cancel: Option<Link>,
    /// Something is to be agreed to.
    pub(crate) confirmation: Option<Link>,
    /// The device's attributes are asked for.
    pub(crate) config_data: Option<Link>,
    /// What the server believes to be installed.
    pub(crate) installed: Option<Link>,
}

/// A link of a server. Its text is only carried: where it leads to, and whether that may be
/// followed, is judged where it is fetched.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Link {
    href: String,
    action: Option<Action>,
}

impl Link {
    fn new(href: String, resource: &str) -> Self {
        let action = segments(&href)
            .skip_while(|part| *part != resource)
            .nth(1)
            .and_then(|id| Action::try_from(decoded(id)).ok());
        Self { href, action }
    }

    /// The URL, which may hold secrets.
    pub(crate) fn href(&self) -> &str {
        &self.href
    }

    /// The action that it is about, where it names one.
    pub(crate) fn action(&self) -> Option<&Action> {
        self.action.as_ref()
    }
}

/// Without the URL.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("action", &self.action).finish_non_exhaustive()
    }
}

/// The text that a part of a URL's path stands for.
pub(super) fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.filter(|_| first == b'%').and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The parts of a URL's path, as they stand there.
pub(super) fn segments(href: &str) -> impl Iterator<Item = &str> {
    let path = href.split(['?', '#']).next().unwrap_or_default();
    path.split('/')
}

#[derive(Deserialize)]
struct Answer {
    config: Option<Config>,
    #[serde(rename = "_links")]
    links: Option<Links>,
}

#[derive(Deserialize)]
struct Config {
    polling: Option<Polling>,
}

#[derive(Deserialize)]
struct Polling {
    sleep: Option<Sleep>,
}

/// A pause of another type is one that is not understood.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sleep {
    Text(String),
    Other(serde::de::IgnoredAny),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Links {
    deployment_base: Option<Href>,
    cancel_action: Option<Href>,
    confirmation_base: Option<Href>,
    config_data: Option<Href>,
    installed_base: Option<Href>,
}

#[derive(Deserialize)]
struct Href {
    href: String,
}

impl Base {
    /// Takes an answer apart.
    pub(crate) fn parse(answer: &[u8]) -> Result<Self, Senseless> {
        let Answer { config, links } = read(answer)?;
        if config.is_none() && links.is_none() {
            return Err(Senseless::Foreign);
        }
        let sleep = config.and_then(|config| config.polling?.sleep).and_then(|sleep| match sleep {
            Sleep::Text(text) => sleep::parse(&text),
            Sleep::Other(_) => None,
        });
        let links = links.unwrap_or_default();
        let link = |href: Option<Href>, resource| href.map(|href| Link::new(href.href, resource));
        Ok(Self {
            sleep,
            deployment: link(links.deployment_base, "deploymentBase"),
            cancel: link(links.cancel_action, "cancelAction"),
            confirmation: link(links.confirmation_base, "confirmationBase"),
            config_data: link(links.config_data, "configData"),
            installed: link(links.installed_base, "installedBase"),
        })
    }

    /// How long to wait before the next poll (HB-1).
    pub(crate) fn pause(&self, fallback: Duration) -> Duration {
        sleep::pause(self.sleep, fallback)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancellation {
    id: Option<Id>,
    cancel_action: Option<ToStop>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToStop {
    stop_id: Option<Id>,
}

/// Which action the answer to the link of a cancellation takes back. The cancellation's own name is
/// the same at all servers that were read, and the feedback goes to it.
pub(crate) fn cancelled(answer: &[u8]) -> Result<Action, Senseless> {
    let Cancellation { id, cancel_action } = read(answer)?;
    let id = id.map(Action::try_from).transpose()?;
    let stop = cancel_action.and_then(|action| action.stop_id).map(Action::try_from).transpose()?;
    match (id, stop) {
        (Some(id), Some(stop)) if id != stop => Err(Senseless::TwoActions),
        (id, stop) => stop.or(id).ok_or(Senseless::NoAction),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(answer: &serde_json::Value) -> Result<Base, Senseless> {
        Base::parse(answer.to_string().as_bytes())
    }

    fn link(name: &str, path: &str) -> serde_json::Value {
        json!({"_links": {name: {"href": format!("http://srv:8080/DEFAULT/controller/v1/P/{path}")}}})
    }

    #[test]
    fn a_poll_s_answer_has_a_pause_and_links_with_their_actions() {
        let answer = json!({
            "config": {"polling": {"sleep": "00:05:00"}},
            "_links": {
                "deploymentBase": {"href": "http://srv:8080/DEFAULT/controller/v1/P/deploymentBase/12?c=-21"},
                "installedBase": {"href": "http://srv:8080/DEFAULT/controller/v1/P/installedBase/11"},
                "configData": {"href": "http://srv:8080/DEFAULT/controller/v1/P/configData"},
            },
        });
        let base = parse(&answer).unwrap();
        assert_eq!(base.sleep, Some(Duration::from_secs(300)));
        let deployment = base.deployment.unwrap();
        assert_eq!(deployment.action().unwrap().as_str(), "12");
        assert!(deployment.href().ends_with("?c=-21"), "the href is followed as it is given");
        assert_eq!(base.installed.unwrap().action().unwrap().as_str(), "11");
        assert_eq!(base.config_data.unwrap().action(), None);
        assert_eq!((base.cancel, base.confirmation), (None, None));
    }

    #[test]
    fn each_link_is_known_by_its_name() {
        let base = parse(&link("cancelAction", "cancelAction/7")).unwrap();
        assert_eq!(base.cancel.unwrap().action().unwrap().as_str(), "7");
        let base = parse(&link("confirmationBase", "confirmationBase/8?c=1#x")).unwrap();
        assert_eq!(base.confirmation.unwrap().action().unwrap().as_str(), "8");
        let base = parse(&link("confirmationBase", "confirmationBase")).unwrap();
        assert_eq!(base.confirmation.unwrap().action(), None);
    }

    /// HB-2.
    #[test]
    fn unknown_links_and_members_are_passed_over() {
        let answer = json!({
            "config": {"polling": {"sleep": "00:01:00", "jitter": 5}, "more": [1]},
            "_links": {"self": [{"href": 7}], "tomorrow": null}, "extra": {"deploymentBase": 1},
        });
        let base = parse(&answer).unwrap();
        assert_eq!(base, Base { sleep: Some(Duration::from_secs(60)), ..Base::default() });
    }

    /// HB-1.
    #[test]
    fn a_pause_that_is_none_leaves_the_fallback() {
        for config in [
            json!({}),
            json!({"polling": null}),
            json!({"polling": {"sleep": null}}),
            json!({"polling": {"sleep": 300}}),
            json!({"polling": {"sleep": "soon"}}),
        ] {
            let base = parse(&json!({"config": config})).unwrap();
            assert_eq!(base.pause(Duration::from_secs(77)), Duration::from_secs(77), "{config}");
        }
    }

    #[test]
    fn what_is_no_answer_of_such_a_server_says_where() {
        for (answer, error) in [
            ("", Senseless::NoJson { line: 1, column: 0 }),
            ("<html>", Senseless::NoJson { line: 1, column: 1 }),
            ("{\"config\":{}} x", Senseless::NoJson { line: 1, column: 15 }),
            ("{}", Senseless::Foreign),
            ("{\"message\":\"log in first\"}", Senseless::Foreign),
        ] {
            assert_eq!(Base::parse(answer.as_bytes()), Err(error), "{answer}");
        }
        for answer in [
            json!(null),
            json!("secret"),
            json!(7),
            json!({"config": 1}),
            json!({"_links": "http://secret"}),
            json!({"_links": {"deploymentBase": "http://secret"}}),
            json!({"_links": {"deploymentBase": {}}}),
            json!({"_links": {"deploymentBase": {"href": 1}}}),
        ] {
            let error = parse(&answer).unwrap_err();
            assert!(matches!(error, Senseless::WrongForm { .. }), "{answer}: {error:?}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_answer_of_10_mib_is_refused_unread() {
        let long = vec![b' '; 10 << 20];
        assert_eq!(Base::parse(&long), Err(Senseless::TooLong(10 << 20)));
        assert_eq!(cancelled(&long), Err(Senseless::TooLong(10 << 20)));
    }

    #[test]
    fn a_link_never_shows_its_url() {
        let base = parse(&link("deploymentBase", "deploymentBase/1?token=secret")).unwrap();
        assert!(!format!("{base:?}").contains("secret"));
    }

    /// HB-11.
    #[test]
    fn a_cancellation_names_the_action_that_it_stops() {
        for (answer, action) in [
            (json!({"id": "12", "cancelAction": {"stopId": "12"}}), Ok("12")),
            (json!({"id": 10, "cancelAction": {"stopId": "10"}}), Ok("10")),
            (json!({"cancelAction": {"stopId": "12"}}), Ok("12")),
            (json!({"id": "12"}), Ok("12")),
            (json!({"id": "12", "cancelAction": {"stopId": "13"}}), Err(Senseless::TwoActions)),
            (json!({}), Err(Senseless::NoAction)),
            (json!({"id": "a b"}), Err(Senseless::NoAction)),
        ] {
            let told = cancelled(answer.to_string().as_bytes());
            assert_eq!(told.as_ref().map(Action::as_str), action.as_ref().copied(), "{answer}");
        }
    }
}
