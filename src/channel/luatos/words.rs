//! What is said and heard on this wire, as pure functions: a request from the settings and the
//! version that runs, a verdict from the first bytes of an answer. Nothing here knows a connection,
//! a clock or a file. docs/use/luatos.md has the rules that it keeps, by their numbers.

mod answer;
mod code;
mod head;
mod heard;
pub(crate) mod pace;
mod target;
pub(crate) mod telling;
mod turnkey;
mod version;

#[cfg(test)]
mod tests;

use crate::config::{Codes, Device, Luatos, LuatosServer, Password, VersionForm};
use crate::model::version::Version;

pub(crate) use answer::{FIRST_BYTES, heard};
pub(crate) use head::Head;
pub(crate) use heard::Heard;
pub(crate) use target::{Target, Validators};
pub(crate) use turnkey::{LONGEST_ANSWER, is_taken};

/// What this channel is set to.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    server: LuatosServer,
    codes: Codes,
    /// Product of the component that is replaced.
    product: String,
    key: Option<Password>,
}

/// Why nothing can be asked: the library's result 5. Nothing goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mistake {
    /// The platform knows a project by its key alone.
    #[error("the first line of `project_key_file` in [channel.luatos] is empty or no plain text")]
    NoKey,
    /// The server compares versions.
    #[error(
        "the version of what runs is not known, and the server must be told it: give `version` or `version_command` of the component"
    )]
    NoVersion,
    /// A number of it has more digits than the wire has room for.
    #[error(
        "{version} can't be told to the server: `version_digits` = {digits:?} in [channel.luatos] are the digits that its numbers may have"
    )]
    VersionTooLong {
        /// The version.
        version: Version,
        /// Digits that each of its numbers may have.
        digits: [u8; 4],
    },
}

impl Settings {
    /// The settings of a section, with the product of its component and the first line of its file
    /// with the project's key.
    pub(crate) fn new(
        section: &Luatos,
        product: &str,
        key: Option<Password>,
    ) -> Result<Self, Mistake> {
        let is_key = |key: &Password| {
            !key.reveal().is_empty() && key.reveal().bytes().all(|byte| byte.is_ascii_graphic())
        };
        let key = key.filter(is_key);
        if section.project_key_file().is_some() && key.is_none() {
            return Err(Mistake::NoKey);
        }
        let (server, codes) = (section.server.clone(), section.codes);
        Ok(Self { server, codes, product: product.to_owned(), key })
    }

    /// Whether an answer says where the file lies, and is not the file itself.
    pub(crate) fn is_turnkey(&self) -> bool {
        matches!(self.server, LuatosServer::Turnkey { .. })
    }

    fn key(&self) -> &str {
        self.key.as_ref().map_or("", Password::reveal)
    }
}

/// The URL of a request, which holds the project's key. It is made anew each time (LU-1).
pub(crate) fn request_url(
    settings: &Settings,
    version: Option<Version>,
) -> Result<String, Mistake> {
    match &settings.server {
        LuatosServer::Verbatim { url } => Ok(url.reveal().to_owned()),
        LuatosServer::Query { prefix, device, version_form } => {
            let triple = triple(device, version)?;
            let version = match version_form {
                VersionForm::Core => triple.without_middle(device.core),
                VersionForm::Plain => triple.to_string(),
            };
            let parameters = query(&[
                (device.identity.key, &device.identity.value),
                ("project_key", settings.key()),
                ("firmware_name", &device.firmware_name),
                ("version", &version),
            ]);
            Ok(format!("{}{parameters}", prefix.reveal()))
        }
        LuatosServer::Turnkey { url, device, model, core_id } => {
            let parameters = query(&[
                (device.identity.key, &device.identity.value),
                ("project_key", settings.key()),
                ("model", model),
                ("core_id", core_id),
                ("core_version", &device.core.to_string()),
                ("script_name", &device.firmware_name),
                ("script_version", &triple(device, version)?.to_string()),
            ]);
            Ok(format!("{}?{parameters}", url.reveal()))
        }
    }
}

fn triple(device: &Device, version: Option<Version>) -> Result<version::Triple, Mistake> {
    let (version, digits) = (version.ok_or(Mistake::NoVersion)?, device.version_digits);
    version::Triple::of(version, digits).ok_or(Mistake::VersionTooLong { version, digits })
}

/// Parameters with their values encoded, although the vendor's clients do not: a name of ours may
/// hold what ends a parameter.
fn query(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'~' | b'-' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}
