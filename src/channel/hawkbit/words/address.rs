//! Where a server is polled, and where it is told how its actions fare.
//!
//! What a server offers is fetched where its links lead. What it is told goes to the server that is
//! configured, by the name of the action: that is known after a restart, too, and the device's token
//! belongs to that server alone.

use std::fmt::Write as _;

use super::base::{Link, decoded, segments};
use crate::channel::offer::{Action, Telling, What};
use crate::config::Hawkbit;

/// The address of this device at its server.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    base: String,
    controller_id: String,
}

impl Address {
    /// The address of the configured device.
    pub(crate) fn of(config: &Hawkbit) -> Self {
        Self::new(config.server.as_str(), &config.tenant, &config.controller_id)
    }

    /// The address of a device of this tenant; `server` is a URL without a slash at its end.
    pub(crate) fn new(server: &str, tenant: &str, controller_id: &str) -> Self {
        let base = format!("{server}/{}/controller/v1/{}", encoded(tenant), encoded(controller_id));
        Self { base, controller_id: controller_id.to_owned() }
    }

    /// Where it is polled.
    pub(crate) fn poll(&self) -> &str {
        &self.base
    }

    /// Where the device's attributes go.
    pub(crate) fn config_data(&self) -> String {
        format!("{}/configData", self.base)
    }

    /// Where this feedback goes: what becomes of a cancellation to the cancellation, all else to the
    /// deployment.
    pub(crate) fn feedback(&self, telling: &Telling) -> String {
        let resource = match telling.what {
            What::Cancelled | What::TooLate => "cancelAction",
            _ => "deploymentBase",
        };
        self.of_action(resource, &telling.action)
    }

    /// Where the answer to a confirmation goes.
    pub(crate) fn confirmation(&self, action: &Action) -> String {
        self.of_action("confirmationBase", action)
    }

    fn of_action(&self, resource: &str, action: &Action) -> String {
        format!("{}/{resource}/{}/feedback", self.base, encoded(action.as_str()))
    }

    /// Whether a link is about another device. One that says nothing of a device is not.
    pub(crate) fn is_foreign(&self, link: &Link) -> bool {
        let mut parts = segments(link.href()).skip_while(|part| *part != "controller").skip(1);
        let named = (parts.next() == Some("v1")).then(|| parts.next()).flatten();
        // Servers whose database takes small and capital letters alike answer in either.
        named.is_some_and(|named| !decoded(named).eq_ignore_ascii_case(&self.controller_id))
    }
}

/// A text as one part of a URL's path.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text never fails.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Base;
    use super::*;

    fn action(name: &str) -> Action {
        Action::try_from(name.to_owned()).unwrap()
    }

    fn address() -> Address {
        Address::new("https://srv:8443", "DEFAULT", "PAYLOAD0001")
    }

    fn link(href: &str) -> Link {
        let answer = json!({"_links": {"deploymentBase": {"href": href}}}).to_string();
        Base::parse(answer.as_bytes()).unwrap().deployment.unwrap()
    }

    #[test]
    fn a_device_has_an_address_in_its_tenant() {
        assert_eq!(address().poll(), "https://srv:8443/DEFAULT/controller/v1/PAYLOAD0001");
        let base = address().poll().to_owned();
        assert_eq!(address().config_data(), format!("{base}/configData"));
        assert_eq!(
            address().confirmation(&action("7")),
            format!("{base}/confirmationBase/7/feedback")
        );
    }

    #[test]
    fn names_are_encoded_as_parts_of_a_path() {
        for (name, part) in [
            ("a-b_c.d~9", "a-b_c.d~9"),
            ("a/b", "a%2Fb"),
            ("a b?c#d%e", "a%20b%3Fc%23d%25e"),
            ("Gerät", "Ger%C3%A4t"),
            ("00:1A:2B", "00%3A1A%3A2B"),
            ("../../x", "..%2F..%2Fx"),
        ] {
            let address = Address::new("http://s", name, name);
            assert_eq!(address.poll(), format!("http://s/{part}/controller/v1/{part}"));
            assert_eq!(decoded(part), name);
        }
        let long = Address::new("http://s", "T", &"ä".repeat(256));
        assert_eq!(long.poll().len(), "http://s/T/controller/v1/".len() + 256 * 6);
    }

    /// HB-10, HB-11: by the action's name, which outlives a restart.
    #[test]
    fn feedback_goes_to_the_deployment_and_that_of_a_cancellation_to_it() {
        for (what, resource) in [
            (What::Accepted, "deploymentBase"),
            (What::Succeeded { sentence: String::new() }, "deploymentBase"),
            (What::Cancelled, "cancelAction"),
            (What::TooLate, "cancelAction"),
        ] {
            let telling = Telling { action: action("12/../x"), what };
            let url = format!("{}/{resource}/12%2F..%2Fx/feedback", address().poll());
            assert_eq!(address().feedback(&telling), url);
        }
    }

    #[test]
    fn an_action_of_another_device_is_known_by_its_link() {
        for (href, foreign) in [
            ("https://srv:8443/DEFAULT/controller/v1/PAYLOAD0001/deploymentBase/12?c=1", false),
            ("http://inside:8080/base/DEFAULT/controller/v1/PAYLOAD0001/deploymentBase/12", false),
            ("https://srv:8443/DEFAULT/controller/v1/payload0001/deploymentBase/12", false),
            ("https://srv:8443/DEFAULT/controller/v1/PAYLOAD%30001/deploymentBase/12", false),
            ("https://cdn/of/somebody/deploymentBase/12", false),
            ("", false),
            ("https://srv:8443/DEFAULT/controller/v1/PAYLOAD0002/deploymentBase/12", true),
            ("https://srv:8443/DEFAULT/controller/v1//deploymentBase/12", true),
            ("https://srv:8443/DEFAULT/controller/v1/PAYLOAD0001%/deploymentBase/12", true),
        ] {
            assert_eq!(address().is_foreign(&link(href)), foreign, "{href}");
        }
    }
}
