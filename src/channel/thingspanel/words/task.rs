//! A task from the bytes of a message. Platforms of one kind disagree about the types of its fields,
//! so that each is looked at by itself, and what is wrong with one has a code that the platform
//! knows.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Digest as _;

use super::progress::Code;
use crate::model::{AnnouncedDigests, Failure, FailureKind};
use crate::transfer::http;

/// Longest name of a module in bytes: it goes back as it came.
pub(in crate::channel::thingspanel) const LONGEST_MODULE: usize = 1 << 10;
/// Longest version in bytes.
const LONGEST_VERSION: usize = 128;
/// Longest URL in bytes.
const LONGEST_URL: usize = 4096;
/// Longest id in bytes.
const LONGEST_ID: usize = 128;

/// A task, as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::channel::thingspanel) struct Task {
    /// The platform's name of it; where it gave none that can be kept, a digest of the message.
    pub(in crate::channel::thingspanel) id: String,
    /// The platform's text of the version.
    pub(in crate::channel::thingspanel) version: String,
    /// Where the file lies. It may hold secrets.
    pub(in crate::channel::thingspanel) url: String,
    /// Bytes of the file, where they are known.
    pub(in crate::channel::thingspanel) size: Option<u64>,
    /// What the platform says of its bytes.
    pub(in crate::channel::thingspanel) digests: AnnouncedDigests,
    /// The module, where one is named.
    pub(in crate::channel::thingspanel) module: Option<String>,
}

/// Without the URL.
impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, version, size, digests, module, url: _ } = self;
        f.debug_struct("Task")
            .field("id", id)
            .field("version", version)
            .field("size", size)
            .field("digests", digests)
            .field("module", module)
            .finish_non_exhaustive()
    }
}

/// What a message comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::channel::thingspanel) enum Heard {
    /// A task.
    Task(Task),
    /// A task that can't be done, which the platform is told.
    InVain {
        /// Its name, as of a [`Task`].
        id: String,
        /// Its module.
        module: Option<String>,
        /// What it is answered with.
        code: Code,
        /// Why.
        why: String,
    },
    /// Nothing that anybody waits for an answer to; why.
    Nothing(String),
}

/// Why a task can't be done.
struct Wrong {
    code: Code,
    why: &'static str,
}

/// Reads a message of a topic of tasks.
pub(in crate::channel::thingspanel) fn heard(payload: &[u8]) -> Heard {
    let message = match serde_json::from_slice::<Value>(payload) {
        Ok(Value::Object(message)) => message,
        Ok(_) => return Heard::Nothing("it is no JSON object".to_owned()),
        Err(error) => {
            // The parser repeats nothing of it but where it stands.
            let (line, column) = (error.line(), error.column());
            return Heard::Nothing(format!("it is no JSON (line {line}, column {column})"));
        }
    };
    // TP-5.
    if !is_200(message.get("code")) {
        return Heard::Nothing("its `code` is not 200".to_owned());
    }
    let id = id(&message, payload);
    let Some(Value::Object(params)) = message.get("params") else {
        let why = "the task has no `params`".to_owned();
        return Heard::InVain { id, module: None, code: Code::Failed, why };
    };
    let module = match module(params) {
        Ok(module) => module,
        Err(Wrong { code, why }) => {
            return Heard::InVain { id, module: None, code, why: why.to_owned() };
        }
    };
    match task(params) {
        Ok(task) => Heard::Task(Task { id, module, ..task }),
        Err(Wrong { code, why }) => Heard::InVain { id, module, code, why: why.to_owned() },
    }
}

fn is_200(code: Option<&Value>) -> bool {
    match code {
        Some(Value::String(text)) => text == "200",
        Some(Value::Number(number)) => number.as_u64() == Some(200),
        _ => false,
    }
}

/// A task without a usable name is known again by its bytes.
fn id(message: &Map<String, Value>, payload: &[u8]) -> String {
    let told = match message.get("id") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
    if (1..=LONGEST_ID).contains(&told.len()) && told.chars().all(is_plain) {
        return told;
    }
    let digest = sha2::Sha256::digest(payload);
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("unnamed-{digits}")
}

/// TP-8.
fn module(params: &Map<String, Value>) -> Result<Option<String>, Wrong> {
    match text(params, "module") {
        Ok(Some(module)) if module.len() > LONGEST_MODULE => {
            Err(failed("the task's `module` is too long"))
        }
        Ok(module) => Ok(module),
        Err(NoText) => Err(failed("the task's `module` is no text")),
    }
}

/// All of a task but its name and its module.
fn task(params: &Map<String, Value>) -> Result<Task, Wrong> {
    let version = match text(params, "version") {
        Ok(Some(version)) if (1..=LONGEST_VERSION).contains(&version.len()) => version,
        _ => return Err(failed("the task has no `version` that is a short text")),
    };
    let url = match text(params, "url") {
        Ok(Some(url)) if (1..=LONGEST_URL).contains(&url.len()) => url,
        _ => return Err(Wrong { code: Code::Download, why: "the task has no `url` of a file" }),
    };
    let (size, digests) = (size(params)?, digests(params)?);
    Ok(Task { id: String::new(), version, url, size, digests, module: None })
}

/// DL-5: a number or its digits; 0 is unknown.
fn size(params: &Map<String, Value>) -> Result<Option<u64>, Wrong> {
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let size = match params.get("size") {
        None | Some(Value::Null) => Some(0),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) if text.is_empty() => Some(0),
        Some(Value::String(text)) if is_digits(text) => text.parse().ok(),
        Some(_) => None,
    };
    let size = size.ok_or(failed("the task's `size` is no number of bytes"))?;
    Ok(Some(size).filter(|size| *size > 0))
}

/// TP-6, TP-7: none where `sign` is absent or empty; then the seal alone decides.
fn digests(params: &Map<String, Value>) -> Result<AnnouncedDigests, Wrong> {
    let wrong = |why| Wrong { code: Code::Verify, why };
    let sign = text(params, "sign").map_err(|_| wrong("the task's `sign` is no text"))?;
    let Some(sign) = sign.filter(|sign| !sign.is_empty()) else {
        return Ok(AnnouncedDigests::default());
    };
    let method = text(params, "signMethod").ok().flatten().unwrap_or_default();
    let method = method.to_ascii_lowercase().replace('-', "");
    let sign = Value::String(sign);
    let digests = match method.as_str() {
        "md5" => AnnouncedDigests { md5: serde_json::from_value(sign).ok(), ..Default::default() },
        "sha256" => {
            AnnouncedDigests { sha256: serde_json::from_value(sign).ok(), ..Default::default() }
        }
        _ => return Err(wrong("the task's `signMethod` is neither MD5 nor SHA256")),
    };
    if digests == AnnouncedDigests::default() {
        return Err(wrong("the task's `sign` is no digest of its `signMethod` in hexadecimal"));
    }
    Ok(digests)
}

/// It is something else.
struct NoText;

/// Any field may be null or absent.
fn text(params: &Map<String, Value>, name: &str) -> Result<Option<String>, NoText> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(NoText),
    }
}

fn failed(why: &'static str) -> Wrong {
    Wrong { code: Code::Failed, why }
}

/// Where a file lies.
pub(in crate::channel::thingspanel) type Url = http::Url;

/// Where a task's file lies: its URL, or its path behind `base`. Never repeats it.
pub(in crate::channel::thingspanel) fn url_of(
    url: &str,
    base: Option<&Url>,
) -> Result<Url, Failure> {
    let failed = |why: &str| Failure::new(FailureKind::TransferFailed, why);
    if url.contains("://") {
        let wrong = "the task's `url` is none that can be fetched";
        return url.parse().map_err(|error: http::WrongUrl| failed(wrong).because(error));
    }
    let Some(base) = base else {
        return Err(failed("the task's `url` is a path alone: `download_base` is not set here"));
    };
    let wrong = "the task's `url` is no path that can be fetched";
    let joined = base.join(url).map_err(|error| failed(wrong).because(error))?;
    if joined.same_origin(base) { Ok(joined) } else { Err(failed(wrong)) }
}
