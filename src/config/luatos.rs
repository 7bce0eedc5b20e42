//! Section `[channel.luatos]`: where the LuatOS platform or a server of its kind is asked, and what
//! it is told of this payload. How a request looks is the channel's business.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::error::Mistake;
use super::network::{Network, Unsealed};
use super::values::{duration, password_file, some_time};
use crate::model::{ChannelName, ComponentName};

/// Where the platform is asked for a firmware file.
const PLATFORM: &str = "http://iot.openluat.com/api/site/firmware_upgrade";
/// Where it is asked by devices that are sold as a whole.
const TURNKEY: &str = "http://iot.openluat.com/api/site/turnkey_fota";
/// Longest URL in bytes; servers take no longer request line than 8 KiB.
const LONGEST_URL: usize = 2048;
/// Longest name in bytes that the server is told.
const LONGEST_NAME: usize = 128;
/// Two numbers of a version on the wire have three digits each.
const DIGITS_ON_WIRE: u8 = 6;

/// Section `[channel.luatos]`.
#[derive(Debug, Clone)]
pub struct Luatos {
    /// What is asked, and how.
    pub server: LuatosServer,
    /// Time from one request to the next; not zero.
    pub poll: Duration,
    /// Over how long the requests of many payloads are spread that start or lose their server
    /// together.
    pub spread: Duration,
    /// What the numbers 25 to 27 of an answer mean.
    pub codes: Codes,
    /// The one component that is replaced: the wire names none.
    pub component: ComponentName,
    /// What may come without a trusted seal.
    pub unsealed: Unsealed,
}

/// What is asked, and how.
#[derive(Debug, Clone)]
pub enum LuatosServer {
    /// The answer to the request is the file.
    Query {
        /// The URL up to the first parameter, with its `?` or `&`.
        prefix: RequestUrl,
        /// The parameters.
        device: Device,
        /// Whether the version on the wire begins with the core's number.
        version_form: VersionForm,
    },
    /// The answer to the request is the file, and the server is told nothing.
    Verbatim {
        /// The URL.
        url: RequestUrl,
    },
    /// The answer to the request says where the file lies, and the server hears how it ended.
    Turnkey {
        /// The URL without parameters.
        url: RequestUrl,
        /// The parameters.
        device: Device,
        /// Name of the module.
        model: String,
        /// Name of the base firmware.
        core_id: String,
    },
}

/// What a server is told of this payload.
#[derive(Debug, Clone)]
pub struct Device {
    /// Who it is.
    pub identity: Identity,
    /// A file with the project's key in its first line.
    pub project_key_file: PathBuf,
    /// Name of the firmware on the platform.
    pub firmware_name: String,
    /// Number of the base firmware, which a Linux payload does not have.
    pub core: u32,
    /// Digits that each number of a version has on the wire: two at most, six together.
    pub version_digits: [u8; 4],
}

/// Who a payload is: the name of the parameter, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `imei`, `mac` or `uid`.
    pub key: &'static str,
    /// The value; any text that tells payloads apart.
    pub value: String,
}

/// How a version `x.y.z` is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionForm {
    /// `core.x.z`.
    #[default]
    Core,
    /// `x.y.z`.
    Plain,
}

/// What the numbers 25 to 27 of an answer mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codes {
    /// As the vendor's library has it.
    #[default]
    Library,
    /// As an older document has it.
    Requirement,
}

/// A URL of http or https, which may hold secrets: it does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestUrl(String);

impl RequestUrl {
    /// The URL, for whoever sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A text that can stand in a request as it is.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        is_url(text).then(|| Self(text.to_owned()))
    }

    fn fixed(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for RequestUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestUrl(…)")
    }
}

impl<'de> Deserialize<'de> for RequestUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const RIGHT: &str =
            "expected a URL such as \"https://firmware.example.org/payload.bin\", as text";
        // The parser's own words would repeat what was found.
        let text = String::deserialize(deserializer).map_err(|_| D::Error::custom(RIGHT))?;
        if text.starts_with("###") {
            let right = "`###` is the vendor's sign for a URL without parameters: leave it away and say `mode = \"verbatim\"`";
            return Err(D::Error::custom(right));
        }
        Self::parse(&text).ok_or_else(|| D::Error::custom(RIGHT))
    }
}

/// Whether a text can stand in a request as it is.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    text.len() <= LONGEST_URL
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
        && rest.is_some_and(|rest| !rest.starts_with(['/', '?', ':']) && !rest.is_empty())
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fields {
    mode: Mode,
    url: Option<RequestUrl>,
    #[serde(deserialize_with = "password_file")]
    project_key_file: Option<PathBuf>,
    firmware_name: Option<String>,
    #[serde(deserialize_with = "identity")]
    identity: Option<Identity>,
    core: Option<u32>,
    version_form: Option<VersionForm>,
    #[serde(deserialize_with = "digits")]
    version_digits: Option<[u8; 4]>,
    model: Option<String>,
    core_id: Option<String>,
    #[serde(deserialize_with = "some_time")]
    poll: Duration,
    #[serde(deserialize_with = "duration")]
    spread: Duration,
    codes: Codes,
    components: BTreeSet<ComponentName>,
    unsealed: Unsealed,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Platform,
    Prefix,
    Verbatim,
    Turnkey,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            url: None,
            project_key_file: None,
            firmware_name: None,
            identity: None,
            core: None,
            version_form: None,
            version_digits: None,
            model: None,
            core_id: None,
            poll: Duration::from_secs(4 * 60 * 60),
            spread: Duration::from_secs(5 * 60),
            codes: Codes::default(),
            components: [ComponentName::PROGRAM].into(),
            unsealed: Unsealed::default(),
        }
    }
}

impl Fields {
    /// The section with its fields held against each other.
    pub(super) fn settled(mut self) -> Result<Luatos, Mistake> {
        let component = self.component()?;
        self.without_meaning()?;
        let server = self.server()?;
        let Self { poll, spread, codes, unsealed, .. } = self;
        Ok(Luatos { server, poll, spread, codes, component, unsealed })
    }

    /// The wire names no component, so that a file could be for any of several.
    fn component(&self) -> Result<ComponentName, Mistake> {
        let mut names = self.components.iter();
        match (names.next(), names.next()) {
            (Some(name), None) => Ok(*name),
            _ => Err(mistake(
                "components",
                "this channel replaces exactly one component, because the server's answer names none: give one, such as [\"program\"]",
            )),
        }
    }

    /// A field that is not sent would be thought to do something.
    fn without_meaning(&self) -> Result<(), Mistake> {
        let verbatim = self.mode == Mode::Verbatim;
        let turnkey = self.mode == Mode::Turnkey;
        let given = [
            ("identity", self.identity.is_some() && verbatim),
            ("project_key_file", self.project_key_file.is_some() && verbatim),
            ("firmware_name", self.firmware_name.is_some() && verbatim),
            ("core", self.core.is_some() && verbatim),
            ("version_digits", self.version_digits.is_some() && verbatim),
            ("version_form", self.version_form.is_some() && (verbatim || turnkey)),
            ("model", self.model.is_some() && !turnkey),
            ("core_id", self.core_id.is_some() && !turnkey),
        ];
        match given.into_iter().find(|(_, wrong)| *wrong) {
            Some((field, _)) => {
                Err(mistake(field, "with this `mode` the server is not told: leave it away"))
            }
            None => Ok(()),
        }
    }

    fn server(&mut self) -> Result<LuatosServer, Mistake> {
        match self.mode {
            Mode::Verbatim => Ok(LuatosServer::Verbatim { url: self.own_url()? }),
            Mode::Turnkey => Ok(LuatosServer::Turnkey {
                url: without_parameters(self.url.take().unwrap_or(RequestUrl::fixed(TURNKEY)))?,
                device: self.device()?,
                model: name("model", self.model.take())?,
                core_id: name("core_id", self.core_id.take())?,
            }),
            Mode::Platform => {
                let url = self.url.take().unwrap_or(RequestUrl::fixed(PLATFORM));
                let RequestUrl(url) = without_parameters(url)?;
                self.query(RequestUrl(url + "?"))
            }
            Mode::Prefix => {
                let prefix = self.own_url()?;
                if !prefix.0.ends_with(['?', '&']) {
                    let right = "the parameters are put directly behind it: it must end in `?` or `&`; with `mode = \"verbatim\"` none are sent";
                    return Err(mistake("url", right));
                }
                self.query(prefix)
            }
        }
    }

    fn query(&mut self, prefix: RequestUrl) -> Result<LuatosServer, Mistake> {
        let version_form = self.version_form.unwrap_or_default();
        // It is not sent then.
        if version_form == VersionForm::Plain {
            self.core.get_or_insert(0);
        }
        Ok(LuatosServer::Query { prefix, device: self.device()?, version_form })
    }

    fn own_url(&mut self) -> Result<RequestUrl, Mistake> {
        let right = "with this `mode` your own server is asked: give its `url`";
        self.url.take().ok_or_else(|| mistake("url", right))
    }

    fn device(&mut self) -> Result<Device, Mistake> {
        let identity = self.identity.take().ok_or_else(|| {
            mistake("identity", "say who this payload is, such as { imei = \"PAYLOAD0001\" }")
        })?;
        let project_key_file = self.project_key_file.take().ok_or_else(|| {
            mistake("project_key_file", "give a file with the project's key in its first line")
        })?;
        let core = self.core.ok_or_else(|| {
            mistake(
                "core",
                "give the core's number that the firmware has on the platform, such as 2012",
            )
        })?;
        let version_digits = self.version_digits.unwrap_or([2, 1, 1, 2]);
        let firmware_name = name("firmware_name", self.firmware_name.take())?;
        Ok(Device { identity, project_key_file, firmware_name, core, version_digits })
    }
}

impl Luatos {
    pub(super) fn network(&self) -> Network {
        Network {
            name: ChannelName::LUATOS,
            components: [self.component].into(),
            unsealed: self.unsealed == Unsealed::Lab,
        }
    }

    /// The file with the project's key, where one is told.
    pub fn project_key_file(&self) -> Option<&PathBuf> {
        match &self.server {
            LuatosServer::Query { device, .. } | LuatosServer::Turnkey { device, .. } => {
                Some(&device.project_key_file)
            }
            LuatosServer::Verbatim { .. } => None,
        }
    }
}

fn mistake(field: &str, explanation: &str) -> Mistake {
    Mistake::new(&[format!("channel.luatos.{field}")], explanation)
}

fn without_parameters(url: RequestUrl) -> Result<RequestUrl, Mistake> {
    if !url.0.contains('?') {
        return Ok(url);
    }
    let right = "the parameters are put behind it with a `?`: leave its own away, or say `mode = \"prefix\"`";
    Err(mistake("url", right))
}

/// A name that the server knows.
fn name(field: &str, name: Option<String>) -> Result<String, Mistake> {
    name.filter(|name| is_name(name)).ok_or_else(|| {
        let right = format!(
            "give the name that the server knows, of at most {LONGEST_NAME} plain characters"
        );
        mistake(field, &right)
    })
}

fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && !text.contains(char::is_control)
}

/// A list, because the parser takes a longer one for an array.
fn digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 4]>, D::Error> {
    let digits = <[u8; 4]>::try_from(Vec::<u8>::deserialize(deserializer)?).ok();
    let have_room = |digits: &[u8; 4]| {
        digits.iter().all(|digits| *digits <= 2) && digits.iter().sum::<u8>() <= DIGITS_ON_WIRE
    };
    digits.filter(have_room).map(Some).ok_or_else(|| {
        D::Error::custom(
            "expected how many digits each of the four numbers of a version has on the wire, two at most and six together, such as [2, 1, 1, 2]",
        )
    })
}

fn identity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Identity>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Keys {
        imei: Option<String>,
        mac: Option<String>,
        uid: Option<String>,
    }
    let Keys { imei, mac, uid } = Keys::deserialize(deserializer)?;
    let (key, value) = match (imei, mac, uid) {
        (Some(imei), None, None) => ("imei", imei),
        (None, Some(mac), None) => ("mac", mac),
        (None, None, Some(uid)) => ("uid", uid),
        _ => return Err(D::Error::custom("expected exactly one of `imei`, `mac` and `uid`")),
    };
    if is_name(&value) {
        return Ok(Some(Identity { key, value }));
    }
    let right = format!("expected 1 to {LONGEST_NAME} plain characters that tell payloads apart");
    Err(D::Error::custom(right))
}

#[cfg(test)]
mod tests;
