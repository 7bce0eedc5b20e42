//! The configuration file `/etc/uplift/uplift.toml`: every field with its unit, default and reason.
//!
//! Parsed into types that can't be wrong; an error names file, line, field and what would be right. Unknown fields
//! are errors, so that a misspelt one is never silently a default. Nothing here looks at the machine: whether a device
//! exists or a unit is known is for whoever uses the value.

mod package;
mod program;
mod trial;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use package::Mistake;
pub use package::{Package, SealRule, TrustedKey};
pub use program::{Program, Restart};
pub use trial::{Confirm, Trial};

/// Where the configuration lies unless `--config` names another file.
pub const DEFAULT_PATH: &str = "/etc/uplift/uplift.toml";

/// The packaged timer of `uplift-rescue`.
pub const RESCUE_TIMER: &str = "uplift-rescue.timer";

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is upgraded, and how it is restarted.
    pub program: Program,
    /// What a firmware file may be.
    #[serde(default)]
    pub package: Package,
    /// The payload link on the serial port. Without this section there is none.
    pub link: Option<Link>,
    /// The FTP server that the daemon pulls from.
    #[serde(default)]
    pub ftp: Ftp,
    /// The upload server `uplift ftp-server`.
    #[serde(default)]
    pub ftp_server: FtpServer,
    /// Deadlines of the evidence after a restart.
    #[serde(default)]
    pub trial: Trial,
    /// What monitoring may read.
    #[serde(default)]
    pub metrics: Metrics,
    /// Where the daemon keeps its own files.
    #[serde(default)]
    pub paths: Paths,
}

/// The longest that a restart and its trial may take together: the payload link announces it in one byte of seconds
/// (docs/payload-link.md section 4).
const LONGEST_ANNOUNCED: Duration = Duration::from_secs(255);

/// Section `[link]`: the payload link.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// Serial device.
    pub device: PathBuf,
    /// A rate, or `"auto"`: try the known rates in turn.
    pub baud: Baud,
    /// Which transfer the host is offered.
    pub transfer: TransferChoice,
}

impl Default for Link {
    fn default() -> Self {
        Self { device: "/dev/ttyUSB0".into(), baud: Baud::Auto, transfer: TransferChoice::Auto }
    }
}

/// The baud rate of the payload link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baud {
    /// Try the known rates in turn until the aircraft answers.
    Auto,
    /// This rate only.
    Fixed(u32),
}

impl<'de> Deserialize<'de> for Baud {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected \"auto\" or a rate such as 921600")]
        enum Field {
            Rate(u32),
            Word(String),
        }
        match Field::deserialize(deserializer)? {
            Field::Rate(rate @ 9_600..=4_000_000) => Ok(Self::Fixed(rate)),
            Field::Rate(rate) => Err(D::Error::custom(format!("baud rate {rate} is not in 9600..=4000000"))),
            Field::Word(word) if word == "auto" => Ok(Self::Auto),
            Field::Word(word) => Err(D::Error::custom(format!("expected \"auto\" or a rate such as 921600, found \"{word}\""))),
        }
    }
}

/// Which transfer the host is offered when it enters the upgrade mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferChoice {
    /// FTP when the FTP server answers, DCFTP otherwise.
    Auto,
    /// FTP only.
    Ftp,
    /// DCFTP only.
    Dcftp,
}

/// Account name of the vendor's tutorial.
pub const VENDOR_ACCOUNT: &str = "psdk_payload_ftp";
/// Account name of the vendor's newer header and API reference.
pub const VENDOR_ACCOUNT_NEWER: &str = "dji_payload_ftp";
/// Password of the vendor's tutorial; public, so it protects nothing.
const VENDOR_PASSWORD: &str = "DJi_#$31";

/// Section `[ftp]`: the FTP server that the daemon pulls from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ftp {
    /// Address of the server, and the port that the host is told.
    pub address: SocketAddr,
    /// Account.
    pub user: String,
    /// Password; `password_file` is better for one that is secret.
    pub password: Password,
    /// A file with the password in its first line, such as a systemd credential.
    pub password_file: Option<PathBuf>,
    /// Directory on the server; "" is where the login lands.
    pub directory: String,
    /// Longest wait for one answer or for the next bytes.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

impl Default for Ftp {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 21)),
            user: VENDOR_ACCOUNT.into(),
            password: Password(VENDOR_PASSWORD.into()),
            password_file: None,
            directory: String::new(),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Section `[ftp_server]`: the upload server `uplift ftp-server`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FtpServer {
    /// Address to listen on; a socket that systemd hands over comes first.
    pub listen: SocketAddr,
    /// The directory that clients see, and nothing outside it.
    pub home: PathBuf,
    /// Account names that are accepted.
    pub users: BTreeSet<String>,
    /// Password of these accounts; `password_file` is better for one that is secret.
    pub password: Password,
    /// A file with the password in its first line, such as a systemd credential.
    pub password_file: Option<PathBuf>,
    /// First and last port of passive data connections; `[0, 0]` lets the kernel choose.
    pub passive_ports: (u16, u16),
    /// Largest upload.
    pub max_size: Size,
    /// Space that an upload must leave free on the file system of `home`.
    pub keep_free: Size,
    /// Connections at a time; this machine itself has two more, for the daemon. Who has not logged in makes room for a newcomer.
    pub max_connections: usize,
    /// A connection without a command for this long is closed.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// A data connection without a byte for this long is broken off; so is an upload slower than 1 KiB a second over this time.
    #[serde(deserialize_with = "duration")]
    pub stall_timeout: Duration,
}

impl Default for FtpServer {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 21)),
            home: "/upgrade".into(),
            users: [VENDOR_ACCOUNT, VENDOR_ACCOUNT_NEWER].map(String::from).into(),
            password: Password(VENDOR_PASSWORD.into()),
            password_file: None,
            passive_ports: (0, 0),
            max_size: Size(2 << 30),
            keep_free: Size(16 << 20),
            max_connections: 8,
            idle_timeout: Duration::from_secs(120),
            stall_timeout: Duration::from_secs(20),
        }
    }
}

/// Section `[metrics]`: what monitoring may read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Socket of the Prometheus text endpoint. Without it there is none.
    pub socket: Option<PathBuf>,
}

/// Section `[paths]`: where the daemon keeps its own files, and what watches over them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paths {
    /// Directory of the state file and the history.
    pub state: PathBuf,
    /// Control socket.
    pub control: PathBuf,
    /// Where the kernel tells the boot id; another file stands for it in a sandbox.
    pub boot_id: PathBuf,
    /// The timer of the `uplift-rescue` that serves `state`, started at each swap; `""` is none.
    #[serde(deserialize_with = "timer")]
    pub rescue_timer: Option<String>,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            state: "/var/lib/uplift".into(),
            control: "/run/uplift/control.sock".into(),
            boot_id: "/proc/sys/kernel/random/boot_id".into(),
            rescue_timer: Some(RESCUE_TIMER.into()),
        }
    }
}

/// A password that does not show itself in logs.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// The password of the first line of `file`, or the configured one.
    pub fn resolve(&self, file: Option<&Path>) -> std::io::Result<Self> {
        match file {
            None => Ok(self.clone()),
            Some(file) => Ok(Self(std::fs::read_to_string(file)?.lines().next().unwrap_or_default().to_owned())),
        }
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

fn timer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "" => Ok(None),
        name if name.ends_with(".timer") => Ok(Some(text)),
        name => Err(D::Error::custom(format!("\"{name}\" is not a timer: expected a name such as \"{RESCUE_TIMER}\", or \"\""))),
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|_| D::Error::custom(format!("\"{text}\" is not a duration: expected text such as \"20s\" or \"2m\"")))
}

/// Why a configuration can't be used. The text names file, line, field and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file's text is not a configuration.
    #[error("the configuration {}, line {line}{}: {explanation}", path.display(), field_clause(field))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// The field, such as `link.baud`; empty where the text as a whole is wrong.
        field: String,
        /// What is wrong and what would be right, then the line with a caret under the place.
        explanation: String,
    },
}

/// The parser's words without its heading, which repeats the place, and with the message before the line it is about.
fn explain(error: &toml::de::Error) -> String {
    let (message, text) = (error.message(), error.to_string());
    let excerpt = text.split_once('\n').and_then(|(_heading, rest)| rest.trim_end().strip_suffix(message));
    format!("{message}\n{}", excerpt.unwrap_or_default()).trim_end().to_owned()
}

fn field_clause(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!(", field {field}") }
}

impl Config {
    /// Reads a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Parses a configuration; `path` is for the error's text only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let invalid = |error: &toml::de::Error, field: String| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count();
            ConfigError::Invalid { path: path.to_owned(), line, field, explanation: explain(error) }
        };
        let deserializer = toml::Deserializer::parse(text).map_err(|error| invalid(&error, String::new()))?;
        let config: Self = serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let field = Some(error.path().to_string()).filter(|path| path != ".").unwrap_or_default();
            invalid(error.inner(), field)
        })?;
        config.check_deadlines(text, path)?;
        config.check_sockets(text, path)?;
        config.package.check_keys().map_err(|Mistake { begin, field, explanation }| {
            let line = 1 + text.lines().position(|line| line.trim_start().starts_with(begin)).unwrap_or_default();
            ConfigError::Invalid { path: path.to_owned(), line, field, explanation }
        })?;
        Ok(config)
    }

    fn check_deadlines(&self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let together = self.program.restart_deadline.saturating_add(self.trial.deadline);
        if self.link.is_none() || together <= LONGEST_ANNOUNCED {
            return Ok(());
        }
        let is_deadline = |line: &str| line.trim_start().starts_with("deadline") || line.trim_start().starts_with("restart_deadline");
        let explanation = format!(
            "`restart_deadline` of [program] and `deadline` of [trial] are {} s together, and may be {} s: the payload link announces them in one byte",
            together.as_secs(),
            LONGEST_ANNOUNCED.as_secs()
        );
        let line = 1 + text.lines().position(is_deadline).unwrap_or_default();
        Err(ConfigError::Invalid { path: path.to_owned(), line, field: "trial.deadline".into(), explanation })
    }

    fn check_sockets(&self, text: &str, path: &Path) -> Result<(), ConfigError> {
        if self.metrics.socket.as_deref() != Some(&self.paths.control) {
            return Ok(());
        }
        let line = 1 + text.lines().position(|line| line.trim_start().starts_with("socket")).unwrap_or_default();
        let explanation = "this is the control socket, `control` of [paths]; metrics need one of their own".into();
        Err(ConfigError::Invalid { path: path.to_owned(), line, field: "metrics.socket".into(), explanation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("uplift.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_smallest_configuration_has_the_documented_defaults() {
        let config = parse("[program]\nname = \"demo\"\nproduct = \"PSDK_APPALIAS\"").unwrap();
        assert_eq!(config.program.path, Path::new("/usr/local/bin/demo"));
        assert_eq!(config.program.restart, Restart::Reboot);
        assert!(config.link.is_none());
        assert_eq!(config.ftp.address.port(), 21);
        assert!(config.ftp_server.users.contains(VENDOR_ACCOUNT_NEWER));
    }

    /// The file that is shipped lists every field with its default: with all comment signs in front of fields taken away
    /// it must still parse, and mean the same as the file itself, but for the fields that have no default.
    #[test]
    fn the_shipped_configuration_lists_every_field_with_its_default() {
        let shipped = include_str!("../config/uplift.toml");
        let is_field =
            |line: &str| line.split_once(" = ").is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        let without_default = ["path", "unit", "version", "version_command", "password_file", "health_command", "socket"];
        let all: String = shipped
            .lines()
            .map(|line| match line.strip_prefix("# ").filter(|line| is_field(line)) {
                Some(field) if !without_default.contains(&field.split(' ').next().unwrap()) => format!("{field}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        assert_eq!(format!("{:?}", parse(&all).unwrap()), format!("{:?}", parse(shipped).unwrap()));
        // The parser itself tells which fields a section has.
        for section in ["program", "package", "link", "ftp", "ftp_server", "trial", "metrics", "paths"] {
            let error = parse(&format!("[{section}]\nno_such_field = 1\n")).unwrap_err();
            let known = error.rsplit("expected ").next().unwrap().split('`').skip(1).step_by(2).map(String::from).collect::<Vec<_>>();
            assert!(!known.is_empty(), "{error}");
            let start = shipped.find(&format!("\n[{section}]\n")).unwrap();
            let end = shipped[start + 1..].find("\n[").map_or(shipped.len(), |end| start + 1 + end);
            for field in known {
                assert!(shipped[start..end].contains(&format!("{field} = ")), "[{section}] {field} is not listed");
            }
        }
    }

    #[test]
    fn an_error_names_file_line_field_and_what_would_be_right() {
        let error = parse("[program]\nname = \"demo\"\nproduct = \"P\"\n[link]\nbuad = 9600\n").unwrap_err();
        assert!(error.contains("uplift.toml, line 5, field link") && error.contains("`baud`"), "{error}");
        let error = parse("[program]\nname = \"demo\"\nproduct = \"P\"\n[link]\nbaud = \"fast\"\n").unwrap_err();
        assert!(error.contains("line 5, field link.baud") && error.contains("921600"), "{error}");
        let error = parse("[program]\nname = \"demo\"\nproduct = \"P\"\nrestart = \"unit\"\n").unwrap_err();
        assert!(error.contains("field program") && error.contains("needs `unit`"), "{error}");
        let error = parse("[program\n").unwrap_err();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn a_restart_and_its_trial_must_be_announceable() {
        let text = |link: &str| {
            format!("[program]\nname = \"demo\"\nproduct = \"P\"\nrestart_deadline = \"2m\"\n{link}\n[trial]\ndeadline = \"136s\"")
        };
        assert!(parse(&text("")).is_ok(), "without a link nothing is announced");
        let error = parse(&text("[link]")).unwrap_err();
        assert!(error.contains("line 4") && error.contains("256 s together"), "{error}");
    }

    #[test]
    fn sizes_and_durations_have_units() {
        let config = parse("[program]\npath = \"/opt/p\"\nproduct = \"P\"\nrestart_deadline = \"2m\"\nrestart = [\"/bin/true\"]\n[package]\nmax_size = \"64KiB\"").unwrap();
        assert_eq!(config.package.max_size, Size(65536));
        assert_eq!(config.program.restart_deadline, Duration::from_secs(120));
        assert_eq!(config.program.restart, Restart::Command(vec!["/bin/true".into()]));
        for bad in ["\"64KB\"", "\"-1\"", "\"99999999999999999999GiB\"", "1.5", "\"\u{e9}\""] {
            assert!(parse(&format!("[program]\npath = \"/opt/p\"\nproduct = \"P\"\n[package]\nmax_size = {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_timer_is_named_as_one_or_there_is_none() {
        let timer = |text: &str| {
            let config = parse(&format!("[program]\nname = \"demo\"\nproduct = \"P\"\n{text}"));
            config.map(|config| config.paths.rescue_timer)
        };
        assert_eq!(timer("").unwrap().as_deref(), Some(RESCUE_TIMER));
        assert_eq!(timer("[paths]\nrescue_timer = \"\"").unwrap(), None);
        let error = timer("[paths]\nrescue_timer = \"uplift-rescue\"").unwrap_err();
        assert!(error.contains("field paths.rescue_timer") && error.contains(RESCUE_TIMER), "{error}");
    }

    #[test]
    fn metrics_have_a_socket_of_their_own_or_none() {
        let text = |socket| format!("[program]\nname = \"demo\"\nproduct = \"P\"\n[metrics]\n{socket}");
        assert_eq!(parse(&text("")).unwrap().metrics.socket, None);
        let error = parse(&text("socket = \"/run/uplift/control.sock\"")).unwrap_err();
        assert!(error.contains("line 5, field metrics.socket: this is the control socket"), "{error}");
    }

    #[test]
    fn a_password_never_shows_itself() {
        assert!(!format!("{:?}", Ftp::default()).contains(VENDOR_PASSWORD));
    }
}
