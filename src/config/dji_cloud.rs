//! Section `[channel.dji-cloud]`: DJI's Cloud API, where this payload plays the gateway
//! (docs/use/dji-cloud.md). What servers and documents differ in is one field each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::broker::check_broker;
use super::error::Mistake;
use super::network::{Network, Unsealed};
use super::values::{duration, password_file};
use super::{Broker, Components};
use crate::model::{BrokerName, ChannelName, ComponentName};

/// Longest serial number in bytes.
const LONGEST_SERIAL: usize = 64;
/// Longest of the other texts that a server is told, in bytes.
const LONGEST_TEXT: usize = 128;
/// A server forgets a device after 60 s without its properties (DJ-17).
const OSD: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(20);

/// Section `[channel.dji-cloud]`.
#[derive(Debug, Clone)]
pub struct DjiCloud {
    /// The broker of the platform.
    pub broker: BrokerName,
    /// Our serial number as a gateway: it stands in every topic.
    pub gateway_sn: Serial,
    /// What is replaced, by the serial number that an upgrade is for.
    pub devices: BTreeMap<Serial, ComponentName>,
    /// What the platform is told of us when we come.
    pub topology: Topology,
    /// How a step of an upgrade is written (DJ-10).
    pub step: StepForm,
    /// How a version is written.
    pub version_form: DjiVersionForm,
    /// Time from one report of the properties to the next.
    pub osd: Duration,
    /// Whether an answer to a progress event is asked for.
    pub need_reply: bool,
    /// What may come without a trusted seal.
    pub unsealed: Unsealed,
}

/// A serial number: letters and digits, because it is a part of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(String);

/// What the platform is told of the gateway and of what hangs on it.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The gateway's kind.
    pub kind: DeviceKind,
    /// The version of its description on the platform.
    pub thing_version: String,
    /// A file with a secret in its first line that the platform may ask for.
    pub device_secret_file: Option<PathBuf>,
    /// A text that goes with it.
    pub nonce: Option<String>,
    /// The devices that hang on it.
    pub sub_devices: Vec<SubDevice>,
}

/// What kind of device one is, in the platform's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeviceKind {
    /// "0" aircraft, "1" payload, "2" remote controller, "3" dock.
    pub domain: String,
    /// Its type within that.
    #[serde(rename = "type")]
    pub number: u32,
    /// Its sub-type.
    pub sub_type: u32,
}

/// A device that hangs on the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubDevice {
    /// Its serial number.
    pub sn: Serial,
    /// "0" aircraft, "1" payload, "2" remote controller, "3" dock.
    pub domain: String,
    /// Its type within that.
    #[serde(rename = "type")]
    pub number: u32,
    /// Its sub-type.
    #[serde(default)]
    pub sub_type: u32,
    /// Its place.
    #[serde(default = "default_index")]
    pub index: String,
}

/// How the step of an upgrade is written in a progress event (DJ-10).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepForm {
    /// `"step_key": "download_firmware"`: it breaks nothing.
    #[default]
    StepKeyString,
    /// `"current_step": "download_firmware"`.
    CurrentStepString,
    /// `"current_step": 1`.
    CurrentStepInt,
    /// Both strings.
    BothStrings,
}

/// How a version `Vaa.bb.cc.dd` is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DjiVersionForm {
    /// `aa.bb.ccdd`, the only form that the vendor's server takes.
    #[default]
    Joined,
    /// `aa.bb.cc.dd`.
    Dotted,
}

impl Serial {
    /// The number.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For maps that are asked with what has come.
impl std::borrow::Borrow<str> for Serial {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_plain && (1..=LONGEST_SERIAL).contains(&text.len()) {
            return Ok(Self(text));
        }
        Err(D::Error::custom(format!(
            "expected a serial number of at most {LONGEST_SERIAL} letters and digits, such as \"PAYLOAD0001\""
        )))
    }
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    broker: BrokerName,
    gateway_sn: Serial,
    #[serde(default)]
    devices: Option<BTreeMap<Serial, ComponentName>>,
    #[serde(default)]
    sub_devices: Vec<SubDevice>,
    #[serde(default = "dock")]
    domain: String,
    #[serde(default = "default_type", rename = "type")]
    number: u32,
    #[serde(default)]
    sub_type: u32,
    #[serde(default = "default_thing_version")]
    thing_version: String,
    #[serde(default, deserialize_with = "password_file")]
    device_secret_file: Option<PathBuf>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    step: StepForm,
    #[serde(default)]
    version_form: DjiVersionForm,
    #[serde(default = "default_osd", deserialize_with = "osd")]
    osd: Duration,
    #[serde(default = "yes")]
    need_reply: bool,
    #[serde(default)]
    unsealed: Unsealed,
}

impl Fields {
    /// The section with its fields held against each other.
    pub(super) fn settled(self) -> Result<DjiCloud, Mistake> {
        let gateway = self.gateway_sn.clone();
        let devices = self.devices.unwrap_or_else(|| [(gateway, ComponentName::PROGRAM)].into());
        if devices.is_empty() {
            let why = "say what is replaced, such as { PAYLOAD0001 = \"program\" }";
            return Err(mistake("devices", why));
        }
        let mut serials: BTreeSet<&Serial> = [&self.gateway_sn].into();
        if !self.sub_devices.iter().all(|device| serials.insert(&device.sn)) {
            let why = "each has a serial number of its own, other than the gateway's";
            return Err(mistake("sub_devices", why));
        }
        let texts = [("domain", &self.domain), ("thing_version", &self.thing_version)];
        let texts = texts.into_iter().chain(self.nonce.iter().map(|nonce| ("nonce", nonce)));
        let of_devices = self
            .sub_devices
            .iter()
            .flat_map(|device| [&device.domain, &device.index].map(|text| ("sub_devices", text)));
        if let Some((field, _)) = texts.chain(of_devices).find(|(_, text)| !is_text(text)) {
            let why = format!(
                "give the text that the platform knows, of at most {LONGEST_TEXT} plain characters"
            );
            return Err(mistake(field, &why));
        }
        let kind = DeviceKind { domain: self.domain, number: self.number, sub_type: self.sub_type };
        Ok(DjiCloud {
            broker: self.broker,
            gateway_sn: self.gateway_sn,
            devices,
            topology: Topology {
                kind,
                thing_version: self.thing_version,
                device_secret_file: self.device_secret_file,
                nonce: self.nonce,
                sub_devices: self.sub_devices,
            },
            step: self.step,
            version_form: self.version_form,
            osd: self.osd,
            need_reply: self.need_reply,
            unsealed: self.unsealed,
        })
    }
}

impl DjiCloud {
    pub(super) fn network(&self) -> Network {
        Network {
            name: ChannelName::DJI_CLOUD,
            components: self.devices.values().copied().collect(),
            unsealed: self.unsealed == Unsealed::Lab,
        }
    }

    /// What other sections must have.
    pub(super) fn check(
        &self,
        brokers: &BTreeMap<BrokerName, Broker>,
        components: &Components,
    ) -> Result<(), Mistake> {
        check_broker("dji-cloud", self.broker, brokers)?;
        let unknown = self.devices.values().find(|name| components.get(**name).is_none());
        unknown.map_or(Ok(()), |name| {
            let why = format!("there is no section [component.{name}]");
            Err(mistake("devices", &why))
        })
    }
}

fn mistake(field: &str, explanation: &str) -> Mistake {
    Mistake::new(&[format!("channel.dji-cloud.{field}")], explanation)
}

fn is_text(text: &str) -> bool {
    (1..=LONGEST_TEXT).contains(&text.len()) && !text.contains(char::is_control)
}

fn dock() -> String {
    "3".to_owned()
}

fn default_type() -> u32 {
    1
}

fn default_thing_version() -> String {
    "1.1.2".to_owned()
}

fn default_index() -> String {
    "A".to_owned()
}

fn default_osd() -> Duration {
    Duration::from_secs(2)
}

fn osd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let period = duration(deserializer)?;
    if OSD.contains(&period) {
        return Ok(period);
    }
    Err(D::Error::custom(
        "expected a time from \"1s\" to \"20s\": a server forgets a device that says nothing for 60 s",
    ))
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    const LEAST: &str = "broker = \"cloud\"\ngateway_sn = \"PAYLOAD0001\"\n";

    fn parse(fields: &str) -> Result<DjiCloud, String> {
        let text = format!(
            "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[broker.cloud]\nurl = \"mqtt://b\"\nclient_id = \"c\"\n\
             [channel.dji-cloud]\nunsealed = \"lab\"\n{fields}"
        );
        Config::parse(&text, Path::new("uplift.toml"))
            .map(|config| config.dji_cloud.unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_is_a_broker_and_a_serial_number() {
        let dji = parse(LEAST).unwrap();
        let component = dji.devices.get("PAYLOAD0001");
        assert_eq!((dji.devices.len(), component), (1, Some(&ComponentName::PROGRAM)));
        assert_eq!((dji.step, dji.osd), (StepForm::StepKeyString, Duration::from_secs(2)));
        assert_eq!(dji.network().components, [ComponentName::PROGRAM].into());
        for missing in ["broker", "gateway_sn"] {
            let rest = LEAST.lines().find(|line| !line.starts_with(missing)).unwrap();
            assert!(parse(&format!("{rest}\n")).unwrap_err().contains(missing));
        }
    }

    #[test]
    fn the_examples_of_the_documentation_are_right() {
        let page = include_str!("../../docs/use/dji-cloud.md");
        let examples =
            page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        for example in examples {
            let program = "[component.program]\nname = \"demo\"\nproduct = \"P\"\n";
            let program = if example.contains("[component.") { "" } else { program };
            let text = format!("{program}{example}");
            assert!(Config::parse(&text, Path::new("uplift.toml")).unwrap().dji_cloud.is_some());
        }
    }

    #[test]
    fn dj_10_a_step_can_be_written_in_each_of_the_four_ways() {
        for (text, form) in [
            ("step_key_string", StepForm::StepKeyString),
            ("current_step_string", StepForm::CurrentStepString),
            ("current_step_int", StepForm::CurrentStepInt),
            ("both_strings", StepForm::BothStrings),
        ] {
            assert_eq!(parse(&format!("{LEAST}step = \"{text}\"\n")).unwrap().step, form);
        }
    }

    #[test]
    fn a_value_with_which_nothing_can_work_is_an_error_with_what_would_be_right() {
        for (field, right) in [
            ("devices = { }", "such as { PAYLOAD0001 = \"program\" }"),
            ("devices = { \"a/b\" = \"program\" }", "at most 64 letters and digits"),
            ("devices = { A = \"modem\" }", "there is no section [component.modem]"),
            ("sub_devices = [{ sn = \"PAYLOAD0001\", domain = \"1\", type = 1 }]", "of its own"),
            ("sub_devices = [{ sn = \"+\", domain = \"1\", type = 1 }]", "letters and digits"),
            ("osd = \"0s\"", "from \"1s\" to \"20s\""),
            ("osd = \"21s\"", "from \"1s\" to \"20s\""),
            ("step = \"step_key\"", "`step_key_string`"),
            ("nonce = \"\"", "plain characters"),
            ("device_secret_file = \"secret\"", "must be absolute"),
            ("unheard = 1", "unknown field"),
        ] {
            let error = parse(&format!("{LEAST}{field}\n")).unwrap_err();
            assert!(error.contains(right), "{field}: {error}");
        }
        let elsewhere = "broker = \"other\"\ngateway_sn = \"A\"\n";
        assert!(parse(elsewhere).unwrap_err().contains("no section [broker.other]"));
    }
}
