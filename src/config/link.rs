//! Section `[channel.psdk]`: the payload link.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::component::{Component, Components};
use super::error::Mistake;
use super::program::SHORTEST_RESTART;
use super::trial::fields_of_trial;
use super::values::{absolute, duration};
use crate::model::{ComponentName, Runs};

/// The longest that a restart and its trial may take together: the payload link announces it in one
/// byte of seconds (docs/wire/payload-link.md section 4).
const LONGEST_ANNOUNCED: Duration = Duration::from_secs(255);

/// The longest that a restart may wait for the application: half of the shortest time for one.
const LONGEST_FAREWELL: Duration = Duration::from_secs(30);

/// Section `[channel.psdk]`: the payload link.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// Where the aircraft is reached.
    pub door: Door,
    /// Serial device.
    #[serde(deserialize_with = "absolute")]
    pub device: PathBuf,
    /// A rate, or `"auto"`: try the known rates in turn.
    pub baud: Baud,
    /// Which transfer the host is offered.
    pub transfer: TransferChoice,
    /// The components that hosts may replace.
    pub components: BTreeSet<ComponentName>,
    /// Whose version the aircraft is told.
    pub version_of: VersionOf,
    /// How long a restart waits for the application at the bridge to get ready for it.
    #[serde(deserialize_with = "farewell")]
    pub farewell: Duration,
}

/// A restart is waited for, too.
fn farewell<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match duration(deserializer)? {
        longer if longer > LONGEST_FAREWELL => {
            Err(D::Error::custom("a restart may wait for the application for at most 30s"))
        }
        wait => Ok(wait),
    }
}

/// Where the aircraft is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// By the daemon itself, at a serial device: for hosts that need no verified identity.
    Serial,
    /// By the payload's own application, which passes the link on.
    Bridge,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            door: Door::Serial,
            device: "/dev/ttyUSB0".into(),
            baud: Baud::Auto,
            transfer: TransferChoice::Auto,
            components: [ComponentName::PROGRAM].into(),
            version_of: VersionOf::Lowest,
            farewell: Duration::from_secs(3),
        }
    }
}

/// Whose version the payload link tells, which has one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum VersionOf {
    /// The lowest of those that its hosts may replace: the host refuses a file whose version is not
    /// higher.
    Lowest,
    /// That of this component.
    Component(ComponentName),
}

impl TryFrom<String> for VersionOf {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "lowest" { Ok(Self::Lowest) } else { text.parse().map(Self::Component) }
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
            Field::Rate(rate) => Err(D::Error::custom(format!(
                "the baud rate {rate} is not between 9600 and 4000000"
            ))),
            Field::Word(word) if word == "auto" => Ok(Self::Auto),
            Field::Word(word) => Err(D::Error::custom(format!(
                "expected \"auto\" or a rate such as 921600, found \"{word}\""
            ))),
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

impl Link {
    /// At the bridge nobody knows whether a network leads to the aircraft: FTP is offered where it is
    /// asked for, and no port is open for nothing.
    pub(super) fn settled(self) -> Self {
        let transfer = match (self.door, self.transfer) {
            (Door::Bridge, TransferChoice::Auto) => TransferChoice::Dcftp,
            (_, transfer) => transfer,
        };
        Self { transfer, ..self }
    }
}

/// What a trial wants to see at the bridge, only a program can show that is there.
pub(super) fn check_bridge(components: &Components, link: Option<&Link>) -> Result<(), Mistake> {
    for component in components {
        let common = component.common();
        if common.trial.bridge.is_none() {
            continue;
        }
        let at_bridge = link.is_some_and(|link| {
            link.door == Door::Bridge && link.components.contains(&common.name)
        });
        let missing = match component {
            Component::Command(_) => "this component is no program of uplift's",
            Component::Program(_) if !at_bridge => {
                "it needs `door = \"bridge\"` in [channel.psdk], with this component in its `components`"
            }
            Component::Program(program) if program.unit.is_none() => {
                "it needs `unit`, to whose processes the application belongs"
            }
            Component::Program(program) if program.runs == Runs::Another => {
                "it needs a program that stays itself: what speaks at the bridge must be the file that was installed"
            }
            Component::Program(_) => continue,
        };
        let name = common.name;
        let explanation = format!("`health = \"bridge\"` for [component.{name}]: {missing}");
        return Err(Mistake::new(&fields_of_trial(name, &["health"]), explanation));
    }
    Ok(())
}

/// The payload link announces restart and trial together.
pub(super) fn announce(components: &mut Components, link: &Link) -> Result<(), Mistake> {
    for component in components.iter_mut() {
        let Component::Program(component) = component else { continue };
        if !link.components.contains(&component.common.name) {
            continue;
        }
        let (name, trial) = (component.common.name, component.common.trial.deadline);
        let together = component.restart_deadline.unwrap_or(SHORTEST_RESTART).saturating_add(trial);
        if together > LONGEST_ANNOUNCED {
            let explanation = format!(
                "`restart_deadline` of [component.{name}] and `deadline` of its trial are {} s together, and may be {} s: the payload link announces them in one byte",
                together.as_secs(),
                LONGEST_ANNOUNCED.as_secs()
            );
            let mut fields = fields_of_trial(name, &["deadline"]);
            fields.push(format!("component.{name}.restart_deadline"));
            return Err(Mistake::new(&fields, explanation));
        }
        component.longest_restart = LONGEST_ANNOUNCED.saturating_sub(trial);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn parse(sections: &str) -> Result<Config, String> {
        let text = format!("[component.program]\nname = \"demo\"\nproduct = \"P\"\n{sections}\n");
        Config::parse(&text, Path::new("uplift.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn at_the_bridge_ftp_is_offered_where_it_is_asked_for() {
        let offered =
            |link: &str| parse(&format!("[channel.psdk]\n{link}")).unwrap().link.unwrap().transfer;
        assert_eq!(offered(""), TransferChoice::Auto);
        assert_eq!(offered("door = \"bridge\""), TransferChoice::Dcftp);
        assert_eq!(offered("door = \"bridge\"\ntransfer = \"ftp\""), TransferChoice::Ftp);
    }

    #[test]
    fn what_can_not_be_shown_at_the_bridge_is_an_error() {
        let bridge = "[channel.psdk]\ndoor = \"bridge\"\n";
        let trial = "[trial]\nhealth = \"bridge\"\n";
        let unit = "unit = \"p.service\"\n";
        assert!(parse(&format!("{unit}{bridge}{trial}")).is_ok());
        for (sections, reason) in [
            (format!("{unit}{trial}"), "door = \"bridge\""),
            (format!("{unit}[channel.psdk]\n{trial}"), "door = \"bridge\""),
            (format!("{bridge}{trial}"), "it needs `unit`"),
            (format!("{unit}runs = \"another\"\n{bridge}{trial}"), "stays itself"),
            (
                format!(
                    "{unit}[component.modem]\nkind = \"command\"\nproduct = \"M\"\ninstall = [\"i\", \"{{file}}\"]\ntrial = {{ health = \"bridge\" }}\n{bridge}"
                ),
                "no program of uplift's",
            ),
        ] {
            let error = parse(&sections).unwrap_err();
            assert!(error.contains(reason) && error.contains("health"), "{sections}: {error}");
        }
        let long = parse(&format!("{bridge}farewell = \"31s\"")).unwrap_err();
        assert!(long.contains("at most 30s"), "{long}");
    }
}
