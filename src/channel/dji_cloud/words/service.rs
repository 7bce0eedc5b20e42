//! A command of the platform, taken apart: whatever it is, it is answered in the platform's words, or
//! it can't be.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, Code};
use crate::channel::offer::{FirmwareName, OfferedFile};
use crate::model::version::Version;
use crate::model::{AnnouncedDigests, Md5Digest};
use crate::transfer::http::Url;

/// The one command that is understood.
pub(crate) const OTA_CREATE: &str = "ota_create";
/// Longest name of a request, or of a command, in bytes: it is told back.
const LONGEST_ID: usize = 256;
/// Longest version in bytes, as the platform's documents have it.
const LONGEST_VERSION: usize = 10_240;
/// Longest URL in bytes; what signs one may be long.
const LONGEST_URL: usize = 8 << 10;
/// Longest name of a file in bytes.
const LONGEST_NAME: usize = 1 << 10;
/// A pair: dock and aircraft.
const MOST_DEVICES: usize = 2;
/// Kinds of an upgrade: what 2 and 3 mean, documents and server disagree about (DJ-4).
const TYPES: std::ops::RangeInclusive<u64> = 2..=4;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// What its answer repeats.
    pub(crate) call: Call,
    /// The files that it asks for, one or two; or why it is refused.
    pub(crate) asked: Result<Vec<Entry>, Refusal>,
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// For the platform.
    pub(crate) code: Code,
    /// For the log, a sentence.
    pub(crate) why: String,
}

/// Why a message can't even be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Senseless {
    /// It is no JSON.
    #[error("a command is no JSON object")]
    NoObject,
    /// It lacks what an answer repeats.
    #[error("a command has no tid, bid and method of at most {LONGEST_ID} bytes")]
    NoIds,
}

/// A file for one of our devices.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Which device.
    pub(crate) sn: String,
    /// The version that the platform calls it; any text.
    pub(crate) product_version: String,
    url: String,
    md5: Option<Md5Digest>,
    size: Option<u64>,
    name: Option<String>,
}

/// Without the URL, which may be signed.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sn, product_version, md5, size, name, url: _ } = self;
        f.debug_struct("Entry")
            .field("sn", sn)
            .field("product_version", product_version)
            .field("md5", md5)
            .field("size", size)
            .field("name", name)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// Whether it asks for the same (DJ-9).
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.sn, &self.product_version, self.md5)
            == (&other.sn, &other.product_version, other.md5)
    }

    /// The file. What it is its name says, where it is the name of a firmware file, or its seal; or,
    /// where a product is given because there are several, that and the version that it is called.
    pub(crate) fn file(&self, product: Option<&str>) -> OfferedFile {
        let of_product = || {
            let version = version(&self.product_version)?;
            format!("{}_{version}.bin", product?).parse().ok()
        };
        let name = self.name.as_deref().and_then(|name| name.parse().ok());
        OfferedFile {
            name: name.or_else(of_product).map_or(FirmwareName::BySeal, FirmwareName::Known),
            url: self.url.clone(),
            size: self.size,
            digests: AnnouncedDigests { md5: self.md5, ..AnnouncedDigests::default() },
        }
    }
}

/// Takes a command apart. `is_ours` knows the serial numbers of our devices.
pub(crate) fn service(bytes: &[u8], is_ours: impl Fn(&str) -> bool) -> Result<Service, Senseless> {
    let message: Value = serde_json::from_slice(bytes).map_err(|_| Senseless::NoObject)?;
    if !message.is_object() {
        return Err(Senseless::NoObject);
    }
    let id = |name: &str| {
        let text = message.get(name).and_then(Value::as_str);
        let text = text.filter(|text| (1..=LONGEST_ID).contains(&text.len()));
        text.map(str::to_owned).ok_or(Senseless::NoIds)
    };
    let timestamp = message.get("timestamp").and_then(Value::as_u64);
    let call = Call { tid: id("tid")?, bid: id("bid")?, method: id("method")?, timestamp };
    let asked = match call.method.as_str() {
        OTA_CREATE => ota_create(message.get("data").unwrap_or(&Value::Null), is_ours),
        _ => refuse(Code::NO_SUCH_REQUEST, "this command is not one of ours"),
    };
    Ok(Service { call, asked })
}

/// A version of ours in one of the platform's forms: `aa.bb.ccdd` or `aa.bb.cc.dd`, with or without a
/// V before it.
fn version(text: &str) -> Option<Version> {
    let text = text.trim_start_matches('V');
    let numbers: Vec<&str> = text.split('.').collect();
    match numbers[..] {
        [a, b, joined] if joined.len() == 4 && joined.is_ascii() => {
            let (c, d) = joined.split_at(2);
            format!("V{a}.{b}.{c}.{d}").parse().ok()
        }
        _ => format!("V{text}").parse().ok(),
    }
}

fn refuse<T>(code: Code, why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, why: why.into() })
}

fn bad<T>(why: impl Into<String>) -> Result<T, Refusal> {
    refuse(Code::BAD_PARAMETERS, why)
}

fn ota_create(data: &Value, is_ours: impl Fn(&str) -> bool) -> Result<Vec<Entry>, Refusal> {
    let Some(devices) = data.get("devices").and_then(Value::as_array) else {
        return refuse(Code::NO_SUCH_REQUEST, "it has no list of devices");
    };
    // DJ-7.
    if !(1..=MOST_DEVICES).contains(&devices.len()) {
        let why = format!("it is for {} devices", devices.len());
        return refuse(Code::NO_SUCH_REQUEST, why);
    }
    let sn = |device: &Value| device.get("sn").and_then(Value::as_str).map(str::to_owned);
    // DJ-6.
    let ours = devices.iter().filter_map(|device| Some((sn(device)?, device)));
    let ours: Vec<_> = ours.filter(|(sn, _)| is_ours(sn)).collect();
    if ours.is_empty() {
        return bad("none of its devices is ours");
    }
    let entries: Result<Vec<Option<Entry>>, Refusal> =
        ours.into_iter().map(|(sn, device)| entry(sn, device)).collect();
    let entries: Vec<Entry> = entries?.into_iter().flatten().collect();
    match entries.as_slice() {
        [] => bad("it has no file for a device of ours"),
        [one, other] if one.sn == other.sn => bad("it has two files for one device"),
        _ => Ok(entries),
    }
}

/// What is asked for a device; nothing where it has no file (DJ-4).
fn entry(sn: String, device: &Value) -> Result<Option<Entry>, Refusal> {
    // DJ-5.
    let kind = device.get("firmware_upgrade_type").and_then(Value::as_u64);
    if !kind.is_some_and(|kind| TYPES.contains(&kind)) {
        return bad("its firmware_upgrade_type is none of 2, 3 and 4");
    }
    let Some(product_version) = text(device, "product_version", LONGEST_VERSION)? else {
        return bad("it has no product_version");
    };
    let url = text(device, "file_url", LONGEST_URL)?;
    let md5 = text(device, "md5", LONGEST_NAME)?;
    let name = text(device, "file_name", LONGEST_NAME)?;
    let size = size(device.get("file_size").unwrap_or(&Value::Null))?;
    let Some(url) = url else {
        let has_none = md5.is_none() && name.is_none() && size.is_none();
        return if has_none { Ok(None) } else { bad("it has no file_url") };
    };
    if url.parse::<Url>().is_err() {
        return bad("its file_url is no URL of http or https");
    }
    // DL-3. The digests of one file say nothing of who made it: its seal does (DL-4).
    let md5 = md5.map(|text| serde_json::from_value::<Md5Digest>(Value::String(text)));
    let Ok(md5) = md5.transpose() else { return bad("its md5 has not 32 digits") };
    Ok(Some(Entry { sn, product_version, url, md5, size, name }))
}

/// A text; the vendor's server takes an empty one for none.
fn text(device: &Value, field: &str, longest: usize) -> Result<Option<String>, Refusal> {
    match device.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.len() <= longest => Ok(Some(text.clone())),
        Some(_) => bad(format!("its {field} is no text of at most {longest} bytes")),
    }
}

/// A number of bytes, which may be written as a text; 0 is unknown (DL-5).
fn size(value: &Value) -> Result<Option<u64>, Refusal> {
    let size = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    match size {
        Some(size) => Ok(Some(size).filter(|size| *size > 0)),
        None => bad("its file_size is no number of bytes"),
    }
}
