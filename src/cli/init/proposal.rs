//! The configuration that a unit suggests. Pure: nothing here looks at the machine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::output::Mistake;
use crate::host::unit::Unit;

/// Where programs lie whose configuration gives a name alone.
const PROGRAMS: &str = "/usr/local/bin";
/// How long a new program must run.
const WINDOW: Duration = Duration::from_secs(20);
/// From the restart to the verdict where the unit asks for no more.
const DEADLINE: Duration = Duration::from_secs(120);
/// The longest one that leaves the restart its time where a payload link announces both.
const LONGEST_WITH_LINK: Duration = Duration::from_secs(180);
/// The longest one at all.
const LONGEST: Duration = Duration::from_secs(600);
/// Beyond what the unit may take to start.
const ROOM: Duration = Duration::from_secs(10);

/// Where the aircraft is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// Nowhere.
    None,
    /// By the payload's own application.
    Bridge,
    /// At a serial port.
    Serial(PathBuf),
}

impl std::str::FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "bridge" => Ok(Self::Bridge),
            path if Path::new(path).is_absolute() => Ok(Self::Serial(path.into())),
            _ => Err("expected a device such as /dev/ttyUSB0, \"bridge\" or \"none\"".to_owned()),
        }
    }
}

/// What somebody has chosen.
#[derive(Debug, Clone)]
pub(super) struct Choices {
    pub(super) unit: String,
    pub(super) product: String,
    pub(super) path: Option<PathBuf>,
    pub(super) link: Link,
    /// The text of a public key.
    pub(super) key: Option<String>,
    /// Whether the machine restarts after an upgrade, and not the unit alone.
    pub(super) reboots: bool,
}

/// A configuration; displayed, it is that file.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) unit: String,
    product: String,
    path: PathBuf,
    pub(super) link: Link,
    key: Option<String>,
    reboots: bool,
    deadline: Duration,
}

impl Proposal {
    /// Of what somebody has chosen, and what systemd says of the unit.
    pub(super) fn of(choices: Choices, unit: &Unit) -> Result<Self, Mistake> {
        let Choices { unit: name, product, path, link, key, reboots } = choices;
        let path = path.or_else(|| unit.program.clone()).ok_or_else(|| {
            let sentence = format!("{name} names no program in `ExecStart=`");
            Mistake::new(sentence, "give the program's file with --path")
        })?;
        let name = unit.id.clone().unwrap_or(name);
        let deadline = deadline(unit.start_timeout, link != Link::None);
        Ok(Self { unit: name, product, path, link, key, reboots, deadline })
    }
}

/// A program that may take long to start has longer for its trial.
fn deadline(start: Option<Duration>, has_link: bool) -> Duration {
    let longest = if has_link { LONGEST_WITH_LINK } else { LONGEST };
    let needed = start.unwrap_or_default().saturating_add(WINDOW + ROOM);
    needed.clamp(DEADLINE, longest)
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Written by `uplift init`. `man uplift.toml` has every other field with its default."
        )?;
        self.program(f)?;
        self.trial(f)?;
        self.link(f)?;
        match &self.key {
            Some(key) => writeln!(f, "\n[[package.keys]]\npublic = {}", text(key)),
            None => writeln!(
                f,
                "\n# Without a key everybody who reaches this payload can install a program. `uplift keygen` makes one.\n\
                 # [[package.keys]]\n# public = \"RWQ...\""
            ),
        }
    }
}

impl Proposal {
    fn program(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n[component.program]")?;
        match self.path.strip_prefix(PROGRAMS) {
            Ok(name) if name.components().count() == 1 => {
                writeln!(f, "name = {}", text(&name.to_string_lossy()))?;
            }
            _ => writeln!(f, "path = {}", text(&self.path.to_string_lossy()))?,
        }
        writeln!(f, "product = {}", text(&self.product))?;
        writeln!(f, "unit = {}", text(&self.unit))?;
        writeln!(f, "restart = \"{}\"", if self.reboots { "reboot" } else { "unit" })?;
        writeln!(
            f,
            "# A program that prints its version proves with it that it is what its file's name says, before it is installed.\n\
             # version_command = [\"--version\"]"
        )
    }

    fn trial(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n[trial]")?;
        writeln!(f, "window = \"{}\"", humantime::format_duration(WINDOW))?;
        writeln!(f, "deadline = \"{}\"", humantime::format_duration(self.deadline))?;
        writeln!(
            f,
            "# The best proof that a new program works is a test of your own: a program that ends with success when all is well.\n\
             # health_command = [\"/usr/local/bin/payload-health\"]"
        )
    }

    fn link(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.link {
            Link::None => Ok(()),
            Link::Bridge => writeln!(f, "\n[channel.psdk]\ndoor = \"bridge\""),
            Link::Serial(device) => {
                writeln!(f, "\n[channel.psdk]\ndevice = {}", text(&device.to_string_lossy()))
            }
        }
    }
}

/// A text of TOML.
fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn choices() -> Choices {
        Choices {
            unit: "sensor".into(),
            product: "SENSOR".into(),
            path: None,
            link: Link::None,
            key: None,
            reboots: false,
        }
    }

    fn unit(path: &str, start: u64) -> Unit {
        Unit {
            id: Some("sensor.service".into()),
            start_timeout: Some(Duration::from_secs(start)),
            program: Some(path.into()),
            ..Unit::default()
        }
    }

    fn config(choices: Choices, unit: &Unit) -> Config {
        let text = Proposal::of(choices, unit).unwrap().to_string();
        Config::parse(&text, Path::new("uplift.toml"))
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn what_is_proposed_is_a_configuration_whatever_is_chosen() {
        for path in ["/usr/local/bin/sensor", "/opt/my \"sensor\"\\bin/x", "/usr/local/bin/a/b"] {
            for link in [Link::None, Link::Bridge, Link::Serial("/dev/ttyUSB0".into())] {
                for reboots in [false, true] {
                    for start in [0, 90, 3600] {
                        let choices = Choices { link: link.clone(), reboots, ..choices() };
                        let config = config(choices, &unit(path, start));
                        let program = config.components.programs().next().unwrap();
                        assert_eq!(program.path, Path::new(path));
                        assert_eq!(program.unit.as_deref(), Some("sensor.service"));
                        assert_eq!(config.link.is_some(), link != Link::None);
                    }
                }
            }
        }
    }

    #[test]
    fn a_key_is_trusted_and_its_seal_is_required() {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let config = config(Choices { key: Some(key.into()), ..choices() }, &unit("/opt/x", 90));
        assert_eq!(config.package.keys.len(), 1);
    }

    #[test]
    fn a_slow_start_makes_the_trial_longer_as_far_as_the_link_allows() {
        let seconds =
            |start, has_link| deadline(Some(Duration::from_secs(start)), has_link).as_secs();
        assert_eq!(seconds(0, false), 120);
        assert_eq!(seconds(90, true), 120);
        assert_eq!(seconds(120, true), 150);
        assert_eq!(seconds(3600, true), 180);
        assert_eq!(seconds(3600, false), 600);
        assert_eq!(deadline(Some(Duration::MAX), true), LONGEST_WITH_LINK);
    }

    #[test]
    fn a_unit_without_a_program_needs_a_path() {
        let without = Unit { program: None, ..unit("/x", 90) };
        assert!(Proposal::of(choices(), &without).is_err());
        let with = Choices { path: Some("/opt/x".into()), ..choices() };
        assert!(Proposal::of(with, &without).is_ok());
    }
}
