//! What systemd says of a unit, and how it is told. Knows `systemctl show`, `journalctl` and words, and nothing of upgrades.

mod log;

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use crate::host;

pub use log::{Since, last_lines};

/// Longest wait for systemd's answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Characters that are quoted of a refusal.
const LONGEST_REASON: usize = 200;

/// A unit, as systemd sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// `loaded`, `not-found`, `masked`, …
    pub load_state: String,
    /// `active`, `activating`, `failed`, …
    pub active_state: String,
    /// Main process, while there is one.
    pub main_pid: Option<u32>,
    /// Names one start of the unit; another start has another one.
    pub invocation: Option<String>,
    /// How often systemd has started it again by itself, since somebody started it.
    pub restarts: u32,
}

/// A text as one word of a directive, whatever it holds; systemd ends a word at white space outside quotation marks.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// An argument of a program that systemd starts: a dollar sign would begin a variable of its own, whatever program reads it.
pub(crate) fn literal(argument: &str) -> String {
    argument.replace('$', "$$")
}

/// Asks systemd about a unit.
pub async fn show(unit: &str) -> io::Result<Unit> {
    let question = ["show", "--property=LoadState,ActiveState,MainPID,InvocationID,NRestarts", "--", unit];
    Ok(parse(&systemctl(&question).await?))
}

/// What `systemctl` says to these arguments; its reason, where it refuses.
pub(crate) async fn systemctl(arguments: &[&str]) -> io::Result<String> {
    let output = timeout(DEADLINE, host::output("systemctl", arguments)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // One line tells the reason; what follows only repeats it.
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(said.lines().next().unwrap_or("no reason given").chars().take(LONGEST_REASON).collect::<String>()))
}

fn parse(text: &str) -> Unit {
    let mut unit = Unit::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "LoadState" => value.clone_into(&mut unit.load_state),
            "ActiveState" => value.clone_into(&mut unit.active_state),
            "MainPID" => unit.main_pid = value.parse().ok().filter(|&pid| pid != 0),
            "InvocationID" => unit.invocation = Some(value.to_owned()).filter(|id| !id.is_empty()),
            "NRestarts" => unit.restarts = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_of_a_running_and_of_a_stopped_unit() {
        let unit = parse("LoadState=loaded\nActiveState=active\nMainPID=812\nInvocationID=0b2f\nNRestarts=2\n");
        let expected = Unit {
            load_state: "loaded".into(),
            active_state: "active".into(),
            main_pid: Some(812),
            invocation: Some("0b2f".into()),
            restarts: 2,
        };
        assert_eq!(unit, expected);
        let unit = parse("MainPID=0\nInvocationID=\nActiveState=inactive\nOther=1\nnonsense\n");
        assert_eq!(unit, Unit { active_state: "inactive".into(), ..Unit::default() });
    }
}
