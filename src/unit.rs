//! What systemd says of a unit. Knows `systemctl show` and nothing of upgrades.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Longest wait for systemd's answer.
const DEADLINE: Duration = Duration::from_secs(10);

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
}

/// Asks systemd about a unit.
pub async fn show(unit: &str) -> io::Result<Unit> {
    let output = Command::new("systemctl")
        .args(["show", "--property=LoadState,ActiveState,MainPID,InvocationID", "--", unit])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE, output).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if !output.status.success() {
        // One line tells the reason; what follows only repeats it.
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("no reason given").to_owned()));
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

fn parse(text: &str) -> Unit {
    let mut unit = Unit::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "LoadState" => value.clone_into(&mut unit.load_state),
            "ActiveState" => value.clone_into(&mut unit.active_state),
            "MainPID" => unit.main_pid = value.parse().ok().filter(|&pid| pid != 0),
            "InvocationID" => unit.invocation = Some(value.to_owned()).filter(|id| !id.is_empty()),
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
        let unit = parse("LoadState=loaded\nActiveState=active\nMainPID=812\nInvocationID=0b2f\n");
        assert_eq!(
            unit,
            Unit { load_state: "loaded".into(), active_state: "active".into(), main_pid: Some(812), invocation: Some("0b2f".into()) }
        );
        let unit = parse("MainPID=0\nInvocationID=\nActiveState=inactive\nOther=1\nnonsense\n");
        assert_eq!(unit, Unit { active_state: "inactive".into(), ..Unit::default() });
    }
}
