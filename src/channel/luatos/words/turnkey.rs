//! The turnkey protocol: an answer in JSON says where the file lies, and the server hears how it
//! ended.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::code::Word;
use super::heard::Heard;
use super::target::Target;
use super::version::Triple;
use super::{Settings, encoded};
use crate::channel::offer::{FirmwareName, Install, Offer, OfferedFile};
use crate::config::{LuatosServer, RequestUrl};
use crate::model::AnnouncedDigests;

/// Longest answer in bytes: a URL with its signature is the long part of it.
pub(crate) const LONGEST_ANSWER: usize = 8 << 10;

/// Number of a success.
pub(super) const SUCCESS: u8 = 1;
/// Number of everything else.
pub(super) const FAILURE: u8 = 2;

/// A request with JSON as its body.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Post {
    /// Where it goes.
    pub(crate) url: String,
    /// The JSON.
    pub(crate) body: String,
}

/// Without the URL.
impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("body", &self.body).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer {
    fota_sn: Value,
    url: String,
    #[serde(default)]
    script_version: Value,
    #[serde(default)]
    size: Value,
    #[serde(default)]
    sha256: Value,
}

#[derive(Serialize)]
struct Outcome<'a> {
    fota_sn: &'a str,
    result_code: u8,
}

/// What an answer comes to.
pub(super) fn heard(settings: &Settings, status: u16, body: &[u8], more: bool) -> Heard {
    if more || body.len() > LONGEST_ANSWER {
        let why = format!("the server's answer is longer than {LONGEST_ANSWER} bytes");
        return if status == 200 { Heard::Retry { why } } else { Heard::of_status(status) };
    }
    match (Word::of(body), status) {
        (Some(word), 200) if word.code == 0 => offered(settings, &word, body),
        (Some(word), _) => word.heard(settings.codes),
        (None, 200) => Heard::Retry { why: "the server's answer is none of this protocol".into() },
        (None, status) => Heard::of_status(status),
    }
}

/// An offer. A digest is no proof of anything, but one that can't be right is a broken answer.
fn offered(settings: &Settings, word: &Word, body: &[u8]) -> Heard {
    let broken = |what: &str| Heard::Retry {
        why: word.sentence(&format!("the server offers a file, and {what}")),
    };
    let Ok(answer) = serde_json::from_slice::<Answer>(body.trim_ascii()) else {
        return broken("does not say which, or where it lies");
    };
    let Some(target) = text(&answer.fota_sn).and_then(Target::of_turnkey) else {
        return broken("its `fota_sn` is no plain text");
    };
    let (Some(action), Some(url)) = (target.action(), RequestUrl::parse(&answer.url)) else {
        return broken("its `url` is none of http or https");
    };
    let Ok(digests) = digests(&answer.sha256) else {
        return broken("its `sha256` is no such digest");
    };
    let Ok(size) = size(&answer.size) else {
        return broken("its `size` is no number");
    };
    let name = name(settings, text(&answer.script_version));
    let file = OfferedFile { name, url: url.reveal().to_owned(), size, digests };
    Heard::File { offer: Offer { action, files: vec![file], install: Install::Now }, target }
}

/// The name of the file, where the version is one that this payload could have told; otherwise its
/// seal must say.
fn name(settings: &Settings, version: Option<String>) -> FirmwareName {
    let LuatosServer::Turnkey { device, .. } = &settings.server else {
        return FirmwareName::BySeal;
    };
    version
        .and_then(|version| Triple::version_of(&version, device.version_digits))
        .and_then(|version| format!("{}_{version}.bin", settings.product).parse().ok())
        .map_or(FirmwareName::BySeal, FirmwareName::Known)
}

/// A text, or a whole number in its place.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    }
}

/// What is absent or empty is not known.
fn digests(value: &Value) -> Result<AnnouncedDigests, serde_json::Error> {
    let sha256 = match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        given => Some(serde_json::from_value(given.clone())?),
    };
    Ok(AnnouncedDigests { sha256, ..AnnouncedDigests::default() })
}

/// A number or its digits; 0 is not known.
fn size(value: &Value) -> Result<Option<u64>, ()> {
    let size = match value {
        Value::Null => Some(0),
        Value::String(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok()
        }
        number => number.as_u64(),
    };
    size.map(|size| Some(size).filter(|size| *size > 0)).ok_or(())
}

/// How a request ended, for the server: none where it wants to hear nothing.
pub(super) fn result(settings: &Settings, sn: &str, result_code: u8) -> Option<Post> {
    let LuatosServer::Turnkey { url, .. } = &settings.server else { return None };
    let query = format!("fota_sn={}&result_code={result_code}", encoded(sn));
    let url = format!("{}_result?{query}", url.reveal());
    let body = serde_json::to_string(&Outcome { fota_sn: sn, result_code }).ok()?;
    Some(Post { url, body })
}

/// Whether the server has taken a result (LU-8).
pub(crate) fn is_taken(status: u16, body: &[u8]) -> bool {
    status == 200 && Word::of(body).is_some_and(|word| word.code == 0)
}
