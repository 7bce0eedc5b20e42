//! The values of fields: each is what it must be, or the error says what would be right.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};

use super::{RESCUE_TIMER, unit_name};
use crate::disk;

/// Where systemd lays the credentials of units.
pub(crate) const CREDENTIALS: &str = "/run/credentials";
/// Largest password file: one line of it is used.
const PASSWORD_FILE_LIMIT: u64 = 64 << 10;

/// A password that does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub(super) fn vendors(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The password of the first line of `file`, or the configured one.
    pub fn resolve(&self, file: Option<&Path>) -> io::Result<Self> {
        file.map_or_else(|| Ok(self.clone()), Self::read)
    }

    /// The password of the first line of a file, which must be small.
    pub fn read(file: &Path) -> io::Result<Self> {
        let text = read_text(file, PASSWORD_FILE_LIMIT)?;
        Ok(Self(text.lines().next().unwrap_or_default().to_owned()))
    }

    /// A secret that is read from a file with others.
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The password itself, for the one place that sends or compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The parser's own words would repeat what was found.
        let wrong = |_| D::Error::custom("expected text in quotation marks");
        String::deserialize(deserializer).map(Self).map_err(wrong)
    }
}

/// The text of a file that has at most so many bytes.
pub(super) fn read_text(file: &Path, limit: u64) -> io::Result<String> {
    let bytes = disk::read_limited(file, limit)?
        .ok_or_else(|| io::Error::from(nix::errno::Errno::ENOENT))?;
    String::from_utf8(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// A number of bytes: an integer, or text with a unit (`"64KiB"`, `"512MiB"`, `"2GiB"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected bytes as a number, or text such as \"512MiB\"")]
        enum Field {
            Bytes(u64),
            Text(String),
        }
        match Field::deserialize(deserializer)? {
            Field::Bytes(bytes) => Ok(Self(bytes)),
            Field::Text(text) => parse_size(&text).map(Self).ok_or_else(|| {
                D::Error::custom(format!("\"{text}\" is not a size: expected text such as \"64KiB\", \"512MiB\" or \"2GiB\""))
            }),
        }
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let factor = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

/// A size that lets something in.
pub(super) fn largest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
    match Size::deserialize(deserializer)? {
        Size(0) => Err(D::Error::custom(
            "no file is as small as 0 bytes: expected more, such as \"512MiB\"",
        )),
        size => Ok(size),
    }
}

/// Ports of passive data connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassivePorts(RangeInclusive<u16>);

impl PassivePorts {
    /// The kernel chooses.
    pub const ANY: Self = Self(0..=0);

    /// First to last, never empty; 0 to 0 where the kernel chooses.
    pub fn range(&self) -> RangeInclusive<u16> {
        self.0.clone()
    }
}

impl<'de> Deserialize<'de> for PassivePorts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let right = "expected two ports, such as [50000, 50100], the smaller one first, or [0, 0]: the kernel chooses";
        // A list, because the parser takes a longer one for a pair.
        match Vec::<u16>::deserialize(deserializer).as_deref() {
            Ok([0, 0]) => Ok(Self::ANY),
            Ok(&[first, last]) if first != 0 && first <= last => Ok(Self(first..=last)),
            Ok([first, last]) => {
                Err(D::Error::custom(format!("[{first}, {last}] is no range: {right}")))
            }
            _ => Err(D::Error::custom(right)),
        }
    }
}

/// Text, with what it should be for the case that it is none.
struct Text(&'static str);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// The name of a timer, or none.
pub(super) fn timer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "" => Ok(None),
        name if name.ends_with(".timer") => {
            unit_name::check(name, ".timer").map(|()| Some(text)).map_err(D::Error::custom)
        }
        name => Err(D::Error::custom(format!(
            "\"{name}\" is not a timer: expected a name such as \"{RESCUE_TIMER}\", or \"\""
        ))),
    }
}

/// A duration, which may be none at all.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = deserializer.deserialize_str(Text("a duration such as \"20s\" or \"2m\""))?;
    humantime::parse_duration(&text).map_err(|_| {
        D::Error::custom(format!(
            "\"{text}\" is not a duration: expected text such as \"20s\" or \"2m\""
        ))
    })
}

/// The same, where a field is given.
pub(super) fn duration_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// A duration in which something can happen.
pub(super) fn some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let time = duration(deserializer)?;
    if time.is_zero() {
        Err(D::Error::custom(
            "nothing happens in no time: expected more, such as \"20s\" or \"2m\"",
        ))
    } else {
        Ok(time)
    }
}

/// The same, where a field is given.
pub(super) fn some_time_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    some_time(deserializer).map(Some)
}

/// An address to listen on; port 0 is any that is free.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    const RIGHT: &str = "an IP address and a port, such as 127.0.0.1:21";
    let text = deserializer.deserialize_str(Text(RIGHT))?;
    text.parse()
        .map_err(|_| D::Error::custom(format!("\"{text}\" is not an address: expected {RIGHT}")))
}

/// An address at which somebody may be asked.
pub(super) fn server<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let server = address(deserializer)?;
    if server.port() != 0 {
        return Ok(server);
    }
    Err(D::Error::custom(format!(
        "nobody listens on port 0: expected the server's port, such as {}:21",
        server.ip()
    )))
}

/// A path that is the same for everybody: a service's working directory is not that of whoever
/// wrote the path.
pub(super) fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = deserializer.deserialize_str(Text("an absolute path, as text"))?;
    if text.contains(char::is_control) {
        return Err(D::Error::custom(
            "the path must have no control characters: no line of a unit or of a log can name it",
        ));
    }
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(D::Error::custom(format!("the path must be absolute, not \"{}\"", path.display())))
    }
}

/// A field that is given has a value.
pub(super) fn absolute_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    absolute(deserializer).map(Some)
}

/// A file with a password. One that systemd is to lay out as a credential has a name that a unit
/// can give it.
pub(super) fn password_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let path = absolute(deserializer)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let can_be_given = name.is_ascii() && !name.contains(':') && name.trim() == name;
    if path.starts_with(CREDENTIALS) && !can_be_given {
        let right = "expected ASCII characters, no colon, and no space at its ends";
        return Err(D::Error::custom(format!(
            "no credential of systemd's is called {name:?}: {right}"
        )));
    }
    Ok(Some(path))
}

/// A program and its arguments.
pub(super) fn command<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    let command = Vec::<String>::deserialize(deserializer)?;
    if names_a_program(&command) { Ok(Some(command)) } else { Err(D::Error::custom(NO_PROGRAM)) }
}

pub(super) const NO_PROGRAM: &str =
    "a command needs at least the program, such as [\"/usr/bin/true\"]";

pub(super) fn names_a_program(command: &[String]) -> bool {
    command.first().is_some_and(|program| !program.is_empty())
}
