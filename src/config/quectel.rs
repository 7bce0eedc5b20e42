//! Section `[channel.quectel]`: a module of a mobile network on a serial port, through which the
//! QuecThing platform upgrades this payload (docs/use/quectel.md). How it is spoken to is the
//! channel's business.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::error::Mistake;
use super::network::{Network, Unsealed};
use super::values::{absolute, absolute_if_any, password_file, some_time};
use crate::model::version::Version;
use crate::model::{ChannelName, ComponentName};

/// The platform is asked for a plan no more often (QT-5).
const SHORTEST_PERIOD: Duration = Duration::from_secs(60 * 60);
/// Longest name of a component that the platform has.
const LONGEST_NAME: usize = 32;
/// Longest version that it has, in bytes.
pub(crate) const LONGEST_VERSION: usize = 64;
/// Bytes that are read at a time: fewer would take for ever, and no module is known to give more.
const BLOCKS: std::ops::RangeInclusive<u32> = 16..=4096;

/// Section `[channel.quectel]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quectel {
    /// The module's port for AT commands.
    #[serde(default = "default_device", deserialize_with = "absolute")]
    pub device: PathBuf,
    /// Its rate in bits a second.
    #[serde(default = "default_baud", deserialize_with = "baud")]
    pub baud: u32,
    /// The components that it may replace, by the names that they have on the platform.
    #[serde(deserialize_with = "components")]
    pub components: BTreeMap<String, ComponentName>,
    /// How a version is written on the platform.
    #[serde(default)]
    pub version_form: VersionForm,
    /// A file with the product's key, a blank and its secret in the first line. Without it the
    /// module is configured already.
    #[serde(default, deserialize_with = "password_file")]
    pub product_file: Option<PathBuf>,
    /// The platform's server, `host:port`. Without it the module knows one.
    #[serde(default, deserialize_with = "server")]
    pub server: Option<String>,
    /// How often the module is asked for a plan; an hour or more.
    #[serde(default = "default_period", deserialize_with = "period")]
    pub request_period: Duration,
    /// Whether the module is asked for a file's SHA-256 beside its MD5.
    #[serde(default = "yes")]
    pub sha256: bool,
    /// Bytes that are read of a file at a time.
    #[serde(default = "default_block", deserialize_with = "block")]
    pub block: u32,
    /// How the checksum of a file is made that the platform announces; what it says is logged and
    /// decides nothing.
    #[serde(default)]
    pub crc: QuectelCrc,
    /// A file that holds the battery's charge in percent, such as
    /// `/sys/class/power_supply/BAT0/capacity`. Without it the payload counts as fed by wire.
    #[serde(default, deserialize_with = "absolute_if_any")]
    pub battery_file: Option<PathBuf>,
    /// How long what came of a file is kept after the module has given it up.
    #[serde(default = "default_keep", deserialize_with = "some_time")]
    pub keep_part: Duration,
    /// What may come without a trusted seal.
    #[serde(default)]
    pub unsealed: Unsealed,
}

/// How the checksum is made that the platform announces: its documents do not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuectelCrc {
    /// It is passed over.
    #[default]
    Ignored,
    /// CRC-32 of IEEE 802.3.
    Crc32,
}

/// How a version is written on the platform: `{a}`, `{b}`, `{c}` and `{d}` are its numbers, `{aa}`
/// and so on the same with two digits, and the rest stands as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionForm(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Number { which: usize, digits: usize },
}

impl Quectel {
    pub(super) fn network(&self) -> Network {
        Network {
            name: ChannelName::QUECTEL,
            components: self.components.values().copied().collect(),
            unsealed: self.unsealed == Unsealed::Lab,
        }
    }

    /// Two names of one component would each announce its version.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        let different: BTreeSet<_> = self.components.values().collect();
        if different.len() == self.components.len() {
            return Ok(());
        }
        let explanation = "each component has one name on the platform: give it once";
        Err(Mistake::new(&["channel.quectel.components"], explanation))
    }
}

impl VersionForm {
    fn parse(text: &str) -> Option<Self> {
        let (mut parts, mut rest, mut wanted) = (Vec::new(), text, 0);
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let (name, after) = after.split_once('}')?;
            let which = "abcd".find(name.get(..1)?)?;
            let digits = name.len();
            let is_whole = digits <= 2 && name.bytes().all(|byte| byte == b"abcd"[which]);
            // Two numbers side by side could not be told apart.
            let is_apart = !matches!(parts.last(), Some(Part::Number { .. }));
            if !is_whole || which != wanted || !is_apart {
                return None;
            }
            parts.push(Part::Number { which, digits });
            (rest, wanted) = (after, wanted + 1);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let is_plain = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.'))
        };
        let are_plain = parts.iter().all(|part| match part {
            Part::Text(text) => is_plain(text),
            Part::Number { .. } => true,
        });
        (wanted > 0 && are_plain && text.len() <= LONGEST_VERSION).then_some(Self(parts))
    }

    /// A version as the platform knows it; nothing where a number that is not told is not 0.
    pub fn text(&self, version: Version) -> Option<String> {
        let (mut text, mut numbers) = (String::new(), version.numbers());
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Number { which, digits } => {
                    let number = std::mem::take(&mut numbers[*which]);
                    text.push_str(&format!("{number:0digits$}"));
                }
            }
        }
        (numbers == [0; 4]).then_some(text)
    }

    /// The version that the platform writes so. It may end behind any number: those that it leaves
    /// away are 0.
    pub fn version(&self, text: &str) -> Option<Version> {
        let (mut numbers, mut rest) = ([0; 4], text);
        for part in &self.0 {
            match part {
                Part::Text(_) if rest.is_empty() && !text.is_empty() => break,
                Part::Text(part) => rest = rest.strip_prefix(part.as_str())?,
                Part::Number { which, .. } => {
                    let end = rest.bytes().take_while(u8::is_ascii_digit).count();
                    let (digits, after) = rest.split_at(end);
                    numbers[*which] = digits.parse().ok().filter(|_| end <= 2)?;
                    rest = after;
                }
            }
        }
        let is_told = text.bytes().any(|byte| byte.is_ascii_digit()) && rest.is_empty();
        Version::new(numbers).filter(|_| is_told)
    }
}

impl Default for VersionForm {
    fn default() -> Self {
        let number = |which| Part::Number { which, digits: 1 };
        let between = || Part::Text("_".to_owned());
        Self(vec![number(0), between(), number(1), between(), number(2), between(), number(3)])
    }
}

impl<'de> Deserialize<'de> for VersionForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "\"{text}\" is no form of a version: expected its numbers from {{a}} on in their order, each with something behind it, \
                 letters, `_`, `-` and `.` between them, such as \"{{a}}_{{b}}_{{c}}_{{d}}\" or \"V{{aa}}.{{bb}}.{{cc}}.{{dd}}\""
            ))
        })
    }
}

fn default_device() -> PathBuf {
    "/dev/ttyUSB2".into()
}

fn default_baud() -> u32 {
    115_200
}

fn default_period() -> Duration {
    SHORTEST_PERIOD
}

fn default_block() -> u32 {
    1024
}

fn default_keep() -> Duration {
    Duration::from_secs(15 * 60)
}

fn yes() -> bool {
    true
}

fn baud<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let baud = u32::deserialize(deserializer)?;
    if (1200..=4_000_000).contains(&baud) {
        return Ok(baud);
    }
    Err(D::Error::custom(format!(
        "{baud} is no rate of a serial port: expected one such as 115200"
    )))
}

fn block<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let block = u32::deserialize(deserializer)?;
    if BLOCKS.contains(&block) {
        return Ok(block);
    }
    let (least, most) = (BLOCKS.start(), BLOCKS.end());
    Err(D::Error::custom(format!("expected {least} to {most} bytes, such as 1024")))
}

fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let period = some_time(deserializer)?;
    if period >= SHORTEST_PERIOD {
        return Ok(period);
    }
    Err(D::Error::custom(
        "the platform is not to be asked more than once an hour: expected \"1h\" or more",
    ))
}

fn components<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, ComponentName>, D::Error> {
    let components = BTreeMap::<String, ComponentName>::deserialize(deserializer)?;
    let is_name = |name: &String| {
        (1..=LONGEST_NAME).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b'\\'))
    };
    if !components.is_empty() && components.keys().all(is_name) {
        return Ok(components);
    }
    Err(D::Error::custom(format!(
        "expected the names of components on the platform, each of 1 to {LONGEST_NAME} plain characters without a comma, with what they are here, \
         such as {{ PAYLOAD = \"program\" }}"
    )))
}

fn server<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let server = String::deserialize(deserializer)?;
    let is_plain = server.len() <= 256
        && server.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b','));
    let port = server.rsplit_once(':').and_then(|(host, port)| {
        port.parse::<u16>().ok().filter(|port| *port > 0 && !host.is_empty())
    });
    if is_plain && port.is_some() {
        return Ok(Some(server));
    }
    Err(D::Error::custom(
        "expected the platform's server, such as \"iot-south.quectelcn.com:1883\"",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(section: &str) -> Result<Quectel, String> {
        let text = format!(
            "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[channel.quectel]\nunsealed = \"lab\"\n{section}\n"
        );
        Config::parse(&text, std::path::Path::new("uplift.toml"))
            .map(|config| config.quectel.unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_field_of_the_section() {
        let plain = parse("components = { PAYLOAD = \"program\" }").unwrap();
        assert_eq!((plain.baud, plain.block, plain.sha256), (115_200, 1024, true));
        let all = parse(
            "device = \"/dev/ttyAMA1\"\nbaud = 921600\ncomponents = { PAYLOAD = \"program\" }\nversion_form = \"{a}_{b}_{c}\"\n\
             product_file = \"/etc/uplift/product\"\nserver = \"example.org:1883\"\nrequest_period = \"2h\"\nsha256 = false\nblock = 512\n\
             crc = \"crc32\"\nbattery_file = \"/sys/class/power_supply/BAT0/capacity\"\nkeep_part = \"10m\"",
        )
        .unwrap();
        assert_eq!((all.baud, all.block, all.sha256), (921_600, 512, false));
        assert_eq!(all.network().components, [ComponentName::PROGRAM].into());
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        const NAMES: &str = "components = { PAYLOAD = \"program\" }";
        for (line, field, reason) in [
            ("components = {}", "components", "PAYLOAD = \"program\""),
            ("components = { 'A\"' = \"program\" }", "components", "plain characters"),
            ("components = { A = \"program\", B = \"program\" }", "components", "give it once"),
            ("components = { A = \"other\" }", "components", "other"),
            ("request_period = \"59m\"", "request_period", "once an hour"),
            ("block = 8", "block", "16 to 4096"),
            ("baud = 0", "baud", "115200"),
            ("version_form = \"{a}{b}\"", "version_form", "no form of a version"),
            ("server = \"example.org\"", "server", ":1883"),
            ("device = \"ttyUSB2\"", "device", "must be absolute"),
            ("crc = \"crc16\"", "crc", "`ignored` or `crc32`"),
        ] {
            let section = if line.starts_with("components") {
                line.to_owned()
            } else {
                format!("{line}\n{NAMES}")
            };
            let error = parse(&section).unwrap_err();
            assert!(error.contains(reason) && error.contains(field), "{line}: {error}");
        }
    }

    #[test]
    fn a_version_is_written_and_read_by_its_form() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        for (form, text, of) in [
            ("{a}_{b}_{c}_{d}", "2_0_0_10", "V02.00.00.10"),
            ("{a}_{b}_{c}", "2_0_10", "V02.00.10.00"),
            ("V{aa}.{bb}.{cc}.{dd}", "V02.00.00.10", "V02.00.00.10"),
            ("fw-{a}.{b}-rc", "fw-2.1-rc", "V02.01.00.00"),
        ] {
            let form = VersionForm::parse(form).unwrap();
            assert_eq!(form.text(version(of)).as_deref(), Some(text));
            assert_eq!(form.version(text), Some(version(of)));
        }
        let form = VersionForm::default();
        assert_eq!(form.version("2_0_0"), Some(version("V02.00.00.00")));
        assert_eq!(form.version("2"), Some(version("V02.00.00.00")));
        for wrong in ["", "_", "2_0_0_0_0", "100_0_0", "2.0.0", "2__0", " 2_0", "2_0_0_"] {
            assert_eq!(form.version(wrong), None, "{wrong}");
        }
        let three = VersionForm::parse("{a}_{b}_{c}").unwrap();
        assert_eq!(three.text(version("V02.00.00.01")), None, "it would not be the truth");
        for wrong in
            ["", "x", "{b}", "{a}{b}", "{a}_{c}", "{aaa}", "{ab}", "{a", "{a} {b}", "{a}\"", "{}"]
        {
            assert_eq!(VersionForm::parse(wrong), None, "{wrong}");
        }
    }
}
