//! What systemd says of a unit, and how it is told. Knows `systemctl show`, `journalctl` and words,
//! and nothing of upgrades.

mod log;
mod timespan;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use crate::host;

pub use log::last_lines;
pub(crate) use log::{LINES, visible};

/// Longest wait for systemd's answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Characters that are quoted of a refusal.
const LONGEST_REASON: usize = 200;

const PROPERTIES: &str = "--property=LoadState,ActiveState,MainPID,InvocationID,NRestarts,Id,TimeoutStopUSec,TimeoutStartUSec,ExecStart,ControlGroup";

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
    /// Its own name, whatever alias it was asked for by.
    pub id: Option<String>,
    /// How long its processes may take to end before systemd kills them; `Duration::MAX` is for
    /// ever.
    pub stop_timeout: Option<Duration>,
    /// How long it may take to start.
    pub start_timeout: Option<Duration>,
    /// The control group of its processes, while there are any.
    pub control_group: Option<String>,
    /// What `ExecStart=` names.
    pub program: Option<PathBuf>,
    /// What systemd started as `ExecStart=`, and as which process.
    pub started: Option<Started>,
}

/// systemd's record of a start: the file and the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The file.
    pub path: PathBuf,
    /// The process.
    pub pid: u32,
}

/// A text as one word of a directive, whatever it holds; systemd ends a word at white space outside
/// quotation marks.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// An argument of a program that systemd starts: a dollar sign would begin a variable of its own,
/// whatever program reads it.
pub(crate) fn literal(argument: &str) -> String {
    argument.replace('$', "$$")
}

/// Asks systemd about a unit.
pub async fn show(unit: &str) -> io::Result<Unit> {
    let question = ["show", PROPERTIES, "--", unit];
    Ok(parse(&systemctl(&question).await?))
}

/// What `systemctl` says to these arguments; its reason, where it refuses.
pub(crate) async fn systemctl(arguments: &[&str]) -> io::Result<String> {
    let output = timeout(DEADLINE, host::output("systemctl", arguments))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // One line tells the reason; what follows only repeats it.
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(
        said.lines()
            .next()
            .unwrap_or("no reason given")
            .chars()
            .take(LONGEST_REASON)
            .collect::<String>(),
    ))
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
            "Id" => unit.id = Some(value.to_owned()).filter(|id| !id.is_empty()),
            "TimeoutStopUSec" => unit.stop_timeout = timespan::parse(value),
            "TimeoutStartUSec" => unit.start_timeout = timespan::parse(value),
            "ControlGroup" => {
                unit.control_group = Some(value.to_owned()).filter(|group| !group.is_empty());
            }
            // Of several commands the last one stays, as with a service that is one.
            "ExecStart" => {
                unit.program = program(value).map(|(path, _)| path.into());
                unit.started = started(value);
            }
            _ => {}
        }
    }
    unit
}

/// `{ path=… ; argv[]=… ; … ; pid=… ; … }`; the process is 0 before the first start.
fn started(value: &str) -> Option<Started> {
    let (path, rest) = program(value)?;
    let pid =
        rest.rsplit_once(" ; pid=")?.1.split(' ').next()?.parse().ok().filter(|&pid| pid != 0)?;
    Some(Started { path: path.into(), pid })
}

fn program(value: &str) -> Option<(&str, &str)> {
    value.strip_prefix("{ path=")?.split_once(" ; argv[]=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_service_is_read_from_systemds_record() {
        let of = |path: &str, pid: u32| {
            let record = "start_time=[Sat 2026-01-03 18:05:54 UTC] ; stop_time=[n/a]";
            parse(&format!(
                "ExecStart={{ path={path} ; argv[]=p ; pid=7 ; x ; ignore_errors=no ; {record} ; pid={pid} ; code=(null) ; status=0/0 }}\n"
            ))
        };
        let expected = |path: &str| Some(Started { path: path.into(), pid: 812 });
        assert_eq!(of("/opt/p", 812).started, expected("/opt/p"));
        assert_eq!(of("/opt/a b ; c/p", 812).started, expected("/opt/a b ; c/p"));
        assert_eq!(of("/opt/p", 0).started, None);
        assert_eq!(parse("ExecStart=\n").started, None);
    }

    #[test]
    fn how_long_it_may_take_and_what_it_is_called() {
        let unit =
            parse("Id=payload.service\nTimeoutStopUSec=1min 30s\nTimeoutStartUSec=infinity\n");
        assert_eq!(
            (unit.id.as_deref(), unit.stop_timeout),
            (Some("payload.service"), Some(Duration::from_secs(90)))
        );
        assert_eq!(unit.start_timeout, Some(Duration::MAX));
    }

    #[test]
    fn properties_of_a_running_and_of_a_stopped_unit() {
        let unit = parse(
            "LoadState=loaded\nActiveState=active\nMainPID=812\nInvocationID=0b2f\nNRestarts=2\n",
        );
        let expected = Unit {
            load_state: "loaded".into(),
            active_state: "active".into(),
            main_pid: Some(812),
            invocation: Some("0b2f".into()),
            restarts: 2,
            ..Unit::default()
        };
        assert_eq!(unit, expected);
        let unit = parse("MainPID=0\nInvocationID=\nActiveState=inactive\nOther=1\nnonsense\n");
        assert_eq!(unit, Unit { active_state: "inactive".into(), ..Unit::default() });
    }
}
