//! Section `[channel.hawkbit]`: a server that speaks hawkBit's Direct Device Integration
//! (docs/use/hawkbit.md). What servers differ in is one field each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::error::Mistake;
use super::network::{Network, Unsealed};
use super::values::{duration, password_file, some_time};
use crate::model::{ChannelName, ComponentName};

/// Shortest pause between two polls, whoever says it.
pub(crate) const SHORTEST_POLL: Duration = Duration::from_secs(5);
/// Longest one.
pub(crate) const LONGEST_POLL: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest key or value of a device's attribute that hawkBit takes.
pub(crate) const LONGEST_ATTRIBUTE: usize = 128;
/// Most attributes of a device that it takes.
pub(crate) const MOST_ATTRIBUTES: usize = 100;

/// Longest name of a device that it takes.
const LONGEST_CONTROLLER_ID: usize = 256;
/// Longest tenant and server in bytes, so that a URL of them has a limit.
const LONGEST_TENANT: usize = 128;
const LONGEST_SERVER: usize = 1024;

/// Section `[channel.hawkbit]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hawkbit {
    /// Where the server is.
    pub server: ServerUrl,
    /// Its tenant.
    #[serde(default = "default_tenant", deserialize_with = "tenant")]
    pub tenant: String,
    /// This device's name there.
    #[serde(deserialize_with = "controller_id")]
    pub controller_id: String,
    /// A file with the token of this device in its first line, such as a systemd credential.
    #[serde(default, deserialize_with = "password_file")]
    pub target_token_file: Option<PathBuf>,
    /// A file with the token of all devices of the tenant; never with the other one.
    #[serde(default, deserialize_with = "password_file")]
    pub gateway_token_file: Option<PathBuf>,
    /// Pause between two polls where the server says none; 5 s to 24 h.
    #[serde(default = "default_poll", deserialize_with = "poll")]
    pub poll: Duration,
    /// Over how long the requests of many devices are spread that start or lose their server
    /// together.
    #[serde(default = "default_spread", deserialize_with = "duration")]
    pub spread: Duration,
    /// What the server is told of this device, beside its components and their versions.
    #[serde(default, deserialize_with = "attributes")]
    pub attributes: BTreeMap<String, String>,
    /// Where product and version of a file are read.
    #[serde(default)]
    pub names: HawkbitNames,
    /// The product that a software module's name stands for, or else its type; without an entry it
    /// is the name.
    #[serde(default)]
    pub products: BTreeMap<String, String>,
    /// Types of the software modules that concern this device; all where nothing is said.
    #[serde(default)]
    pub parts: BTreeSet<String>,
    /// Which of a file's two links is preferred.
    #[serde(default)]
    pub link: HawkbitLink,
    /// Whether feedback has no member that a server could do without.
    #[serde(default)]
    pub minimal_feedback: bool,
    /// Whether feedback says when it was made, by this device's clock.
    #[serde(default)]
    pub timestamps: bool,
    /// What the server hears where it asks for a confirmation.
    #[serde(default)]
    pub confirm: HawkbitConfirm,
    /// The components that it may replace. Of an action with several files they are replaced in
    /// this order.
    #[serde(default = "default_components")]
    pub components: Vec<ComponentName>,
    /// What may come without a trusted seal.
    #[serde(default)]
    pub unsealed: Unsealed,
}

/// Where product and version of a hawkBit file are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HawkbitNames {
    /// In the name of the file.
    #[default]
    File,
    /// In name and version of its software module.
    Chunk,
}

/// The two links that hawkBit may give for a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HawkbitLink {
    /// `download`, which most servers give for https.
    #[default]
    Download,
    /// `download-http`.
    DownloadHttp,
}

/// What a server hears that asks whether an action may begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HawkbitConfirm {
    /// Yes, as soon as the policy lets an upgrade begin.
    #[default]
    Auto,
    /// No: somebody must say yes at the server.
    Never,
}

/// An http or https URL without anything that would have to be kept secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const RIGHT: &str = "expected a URL such as \"https://hawkbit.example.org\"";
        // The text itself is never repeated: it may hold a password.
        let wrong = |what: &str| D::Error::custom(format!("{what}: {RIGHT}"));
        let text = String::deserialize(deserializer).map_err(|_| wrong("the server is no text"))?;
        let rest = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let Some(rest) = rest else { return Err(wrong("the server has neither http nor https")) };
        if text.len() > LONGEST_SERVER || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("the server is too long, or no plain text"));
        }
        if text.contains(['?', '#', '@']) {
            return Err(wrong("the server has no user, query or fragment; tokens lie in files"));
        }
        if rest.split(['/', ':']).next().is_none_or(str::is_empty) {
            return Err(wrong("the server has no host"));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl Hawkbit {
    pub(super) fn network(&self) -> Network {
        Network {
            name: ChannelName::HAWKBIT,
            components: self.components.iter().copied().collect(),
            unsealed: self.unsealed == Unsealed::Lab,
        }
    }

    /// What no field can know by itself.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        if self.target_token_file.is_some() && self.gateway_token_file.is_some() {
            let explanation = "a request has one token: give `target_token_file` or `gateway_token_file`, not both";
            return Err(Mistake::new(&["channel.hawkbit.gateway_token_file"], explanation));
        }
        if !self.products.is_empty() && self.names == HawkbitNames::File {
            let explanation =
                "the file's name says its product: `products` needs `names = \"chunk\"`";
            return Err(Mistake::new(&["channel.hawkbit.products"], explanation));
        }
        Ok(())
    }
}

/// How long hawkBit finds a text: it is written in Java.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn default_tenant() -> String {
    "DEFAULT".to_owned()
}

fn default_components() -> Vec<ComponentName> {
    vec![ComponentName::PROGRAM]
}

/// A fleet that comes back within the pause between polls asks for no more than twice what the server
/// bears every day.
fn default_spread() -> Duration {
    default_poll()
}

fn default_poll() -> Duration {
    Duration::from_secs(5 * 60)
}

fn tenant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() <= LONGEST_TENANT && is_segment(&text) {
        return Ok(text);
    }
    Err(D::Error::custom("expected the tenant's name at the server, such as \"DEFAULT\""))
}

fn controller_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if units(&text) <= LONGEST_CONTROLLER_ID && is_segment(&text) {
        return Ok(text);
    }
    Err(D::Error::custom(format!(
        "expected this device's name at the server, of at most {LONGEST_CONTROLLER_ID} characters, such as \"PAYLOAD0001\""
    )))
}

/// Whether a text can be one part of a URL's path once it is encoded.
fn is_segment(text: &str) -> bool {
    !["", ".", ".."].contains(&text) && !text.contains(char::is_control)
}

fn poll<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let time = some_time(deserializer)?;
    if (SHORTEST_POLL..=LONGEST_POLL).contains(&time) {
        return Ok(time);
    }
    Err(D::Error::custom("expected a pause from \"5s\" to \"24h\""))
}

fn attributes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let attributes = BTreeMap::<String, String>::deserialize(deserializer)?;
    if attributes.len() > MOST_ATTRIBUTES {
        return Err(D::Error::custom(format!("a device has at most {MOST_ATTRIBUTES} attributes")));
    }
    let is_right = |(key, value): (&String, &String)| {
        !key.is_empty() && units(key) <= LONGEST_ATTRIBUTE && units(value) <= LONGEST_ATTRIBUTE
    };
    if attributes.iter().all(is_right) {
        return Ok(attributes);
    }
    Err(D::Error::custom(format!(
        "expected keys and values of at most {LONGEST_ATTRIBUTE} characters, such as {{ hw_boardname = \"payload\" }}"
    )))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    const LEAST: &str = "server = \"https://example.org\"\ncontroller_id = \"PAYLOAD0001\"\n";

    fn parse(fields: &str, unsealed: &str) -> Result<Hawkbit, String> {
        let text = format!(
            "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[channel.hawkbit]\n{fields}{unsealed}"
        );
        Config::parse(&text, Path::new("uplift.toml"))
            .map(|config| config.hawkbit.unwrap())
            .map_err(|error| error.to_string())
    }

    fn with(field: &str) -> Result<Hawkbit, String> {
        parse(&format!("{LEAST}{field}\n"), "unsealed = \"lab\"\n")
    }

    #[test]
    fn the_least_is_a_server_and_a_name() {
        let hawkbit = with("").unwrap();
        assert_eq!(hawkbit.server.as_str(), "https://example.org");
        assert_eq!((hawkbit.tenant.as_str(), hawkbit.poll.as_secs()), ("DEFAULT", 300));
        assert_eq!(hawkbit.components, [ComponentName::PROGRAM]);
        for missing in ["server", "controller_id"] {
            let rest: String = LEAST
                .lines()
                .filter(|line| !line.starts_with(missing))
                .map(|line| format!("{line}\n"))
                .collect();
            assert!(parse(&rest, "unsealed = \"lab\"\n").unwrap_err().contains(missing));
        }
    }

    #[test]
    fn the_example_of_the_documentation_is_right() {
        let page = include_str!("../../docs/use/hawkbit.md");
        let example = page.split_once("```toml\n[channel.hawkbit]\n").unwrap().1;
        // There is no key here.
        let modem = "unsealed = \"lab\"\n[component.modem]\nkind = \"command\"\nproduct = \"MODEM\"\ninstall = [\"true\", \"{file}\"]\n";
        let hawkbit = parse(example.split_once("```").unwrap().0, modem).unwrap();
        assert_eq!(hawkbit.names, HawkbitNames::Chunk);
        assert_eq!(hawkbit.attributes["hw_revision"], "default.default");
    }

    #[test]
    fn what_comes_from_the_network_needs_a_trusted_seal() {
        let error = parse(LEAST, "").unwrap_err();
        assert!(error.contains("field channel.hawkbit: what comes from the network"), "{error}");
        assert!(error.contains("line 4"), "{error}");
    }

    #[test]
    fn a_component_that_is_named_is_there() {
        let error = with("components = [\"modem\"]").unwrap_err();
        assert!(error.contains("there is no section [component.modem]"), "{error}");
    }

    #[test]
    fn a_value_with_which_nothing_can_work_is_an_error_with_what_would_be_right() {
        for (field, right) in [
            ("poll = \"4s\"", "from \"5s\" to \"24h\""),
            ("poll = \"25h\"", "from \"5s\" to \"24h\""),
            ("tenant = \"\"", "such as \"DEFAULT\""),
            ("tenant = \"..\"", "such as \"DEFAULT\""),
            ("names = \"seal\"", "`file` or `chunk`"),
            ("link = \"https\"", "`download` or `download-http`"),
            ("confirm = \"always\"", "`auto` or `never`"),
            ("attributes = { \"\" = \"x\" }", "at most 128 characters"),
            ("products = { a = \"B\" }", "needs `names = \"chunk\"`"),
            ("target_token_file = \"secret\"", "must be absolute"),
            ("target_token_file = \"/a\"\ngateway_token_file = \"/b\"", "not both"),
            ("unheard = 1", "unknown field"),
        ] {
            let error = with(field).unwrap_err();
            assert!(error.contains(right), "{field}: {error}");
        }
        let long = "x".repeat(129);
        assert!(with(&format!("attributes = {{ a = \"{long}\" }}")).is_err());
        assert!(with(&format!("attributes = {{ {long} = \"a\" }}")).is_err());
        let many: String = (0..101).map(|n| format!("a{n} = \"x\", ")).collect();
        assert!(with(&format!("attributes = {{ {many} b = \"x\" }}")).is_err());
    }

    #[test]
    fn a_device_s_name_is_one_part_of_a_path() {
        let named = |name: &str| {
            let text = format!("server = \"http://s\"\ncontroller_id = \"{name}\"\n");
            parse(&text, "unsealed = \"lab\"\n")
        };
        for right in ["P", "a b/c", "Gerät", &"x".repeat(256)] {
            assert!(named(right).is_ok(), "{right}");
        }
        for wrong in ["", ".", "..", "a\\nb", &"x".repeat(257), &"😀".repeat(129)] {
            assert!(named(wrong).unwrap_err().contains("PAYLOAD0001"), "{wrong}");
        }
    }

    #[test]
    fn a_server_is_a_url_without_secrets_and_never_shows_what_it_refuses() {
        let served = |server: &str| {
            let text = format!("server = {server}\ncontroller_id = \"P\"\n");
            parse(&text, "unsealed = \"lab\"\n").map(|hawkbit| hawkbit.server.as_str().to_owned())
        };
        for (text, kept) in [
            ("https://example.org", "https://example.org"),
            ("http://10.0.0.1:8080/", "http://10.0.0.1:8080"),
            ("http://[::1]:8080/base//", "http://[::1]:8080/base"),
        ] {
            assert_eq!(served(&format!("\"{text}\"")).unwrap(), kept);
        }
        for wrong in [
            "7",
            "\"\"",
            "\"ftp://example.org\"",
            "\"example.org\"",
            "\"https://\"",
            "\"https://:80\"",
            "\"https:///path\"",
            "\"https://user:hush@example.org\"",
            "\"https://example.org?hush=1\"",
            "\"https://example.org#a\"",
            "\"https://exa mple.org\"",
            "\"https://exämple.org\"",
            &format!("\"https://{}\"", "x".repeat(LONGEST_SERVER)),
        ] {
            let error = served(wrong).unwrap_err();
            assert!(error.contains("https://hawkbit.example.org"), "{wrong}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
