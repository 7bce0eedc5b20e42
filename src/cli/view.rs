//! How statuses and reports look to a person: text from values, and lines that break between words
//! on a terminal.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::fd::AsFd;

use anstream::stream::RawStream;
use rustix::termios::tcgetwinsize;

use crate::cli::fold::{fold, text_indent};
use crate::cli::paint::plain;
use crate::cli::{next, paint};
use crate::model::version::Version;
use crate::model::{
    BridgeHealth, ChannelState, ChannelStatus, ComponentName, CurrentUpgrade, Evidence, HoldStatus,
    Outcome, Phase, PolicyStatus, Progress, Report, RunningEvidence, Status, TransferKind,
};

/// Width of the bar of the live view, in characters.
const BAR_WIDTH: usize = 30;

/// Prints a line. An error, where `println!` would panic, when whoever reads has seen enough.
pub(super) fn print(line: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints text for a person: on a terminal no line is wider than it, and words have their colours
/// where it shows them.
pub(super) fn say(text: impl fmt::Display) -> io::Result<()> {
    print(folded(&text.to_string(), &io::stdout()))
}

/// [`say`], where errors go.
pub(super) fn complain(text: &str) {
    eprintln!("{}", folded(text, &io::stderr()));
}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Size {
    /// That of this terminal; the usual one where it does not tell its own.
    pub(super) fn of(terminal: &impl AsFd) -> Self {
        let told = tcgetwinsize(terminal).ok().filter(|told| told.ws_row > 0 && told.ws_col > 0);
        told.map_or(Self { rows: 24, columns: 80 }, |told| Self {
            rows: told.ws_row.into(),
            columns: told.ws_col.into(),
        })
    }
}

fn folded(text: &str, terminal: &(impl AsFd + RawStream)) -> String {
    let text = paint::shown(text, terminal);
    if !terminal.is_terminal() {
        return text.into_owned();
    }
    let Size { columns, .. } = Size::of(terminal);
    text.lines()
        .flat_map(|line| fold(line, text_indent(line), columns))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The status in a few aligned lines; `phase` is what is said of the phase, as by [`phase`].
pub(super) fn status(status: &Status, phase: &str) -> String {
    let mut text = String::new();
    for installed in &status.components {
        let version = installed
            .version
            .map_or_else(|| "version unknown".into(), |version| version.to_string());
        let place = match &installed.path {
            Some(path) => path.display().to_string(),
            None => "by another updater".to_owned(),
        };
        let label = capitalized(installed.component.as_str());
        line(&mut text, &label, &format!("{} {version}, {place}", installed.product));
        if installed.looking {
            line(&mut text, "", "the daemon has started, and looks at it still");
        } else if installed.digest.is_none() && installed.path.is_some() {
            line(&mut text, "", "no program is installed yet");
        }
    }
    for (number, part) in phase.lines().enumerate() {
        line(&mut text, if number == 0 { "Phase" } else { "" }, part);
    }
    if let Some(upgrade) = &status.upgrade {
        let file = upgrade.file_name.as_ref().map(|name| format!("{name:?}, ")).unwrap_or_default();
        let file = of_component(upgrade.component) + &file;
        let request = &upgrade.request;
        let caller = request.caller.as_ref().map(|caller| format!(": {caller}"));
        line(
            &mut text,
            "Upgrade",
            &format!(
                "{file}asked for by {} ({}{}), {}",
                request.channel,
                request.requester,
                caller.unwrap_or_default(),
                request.transfer
            ),
        );
    }
    policy(&mut text, &status.policy);
    if !status.link.device.is_empty() {
        let baud = status.link.baud.map(|baud| format!(" at {baud} baud")).unwrap_or_default();
        line(&mut text, "Link", &format!("{}{baud}: {}", status.link.device, status.link.state));
        if let Some(notice) = &status.link.notice {
            line(&mut text, "", notice);
        }
    }
    for channel in &status.channels {
        line(&mut text, "Channel", &channel_line(channel));
    }
    match &status.last {
        Some(report) => {
            line(&mut text, "Last", &report_line(report));
            if let Some(sizes) = sizes(report) {
                line(&mut text, "", &sizes);
            }
            if report
                .evidence
                .as_ref()
                .is_some_and(|evidence| evidence.running == RunningEvidence::Started)
            {
                line(&mut text, "", STARTED);
            }
        }
        None => line(&mut text, "Last", "no upgrade yet"),
    }
    for report in &status.unacknowledged {
        line(
            &mut text,
            "Pending",
            &format!(
                "the report for {} is repeated until it is acknowledged",
                report.request.channel
            ),
        );
    }
    for notice in &status.notices {
        line(&mut text, "Notice", notice);
    }
    for (number, step) in next::steps(status).iter().enumerate() {
        line(&mut text, if number == 0 { "Next" } else { "" }, &paint::hint(step));
    }
    text
}

/// How a channel of the network fares.
fn channel_line(channel: &ChannelStatus) -> String {
    let sentence = Some(plain(&channel.sentence)).filter(|text| !text.is_empty());
    let sentence = sentence.map(|text| format!(", {text}")).unwrap_or_default();
    let lab = if channel.unsealed { "; lab: it may bring what nobody has sealed" } else { "" };
    let state = channel.state.to_string();
    let state = match channel.state {
        ChannelState::Works => paint::good(&state),
        ChannelState::Fails => paint::bad(&state),
        ChannelState::Waits | ChannelState::Unknown => paint::waiting(&state),
    };
    format!("{}: {state}{sentence}{lab}", channel.name)
}

/// What keeps upgrades from beginning.
fn policy(text: &mut String, policy: &PolicyStatus) {
    if let Some(held) = &policy.hold {
        line(text, "Hold", &hold(held));
    }
    if let Some(window) = &policy.window {
        line(text, "Window", &window.to_string());
    }
}

/// Who holds upgrades, and until when.
pub(super) fn hold(hold: &HoldStatus) -> String {
    let end = match hold.seconds_left {
        Some(left) => format!("for {} more", seconds(left)),
        None => "until `uplift release`".to_owned(),
    };
    format!("upgrades are {}, {end}", plain(&hold.to_string()))
}

fn line(text: &mut String, label: &str, value: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "{}  {value}", paint::heading(&format!("{label:>8}")));
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// The phase, and how far it is; in two lines while a file is received.
pub(super) fn phase(status: &Status) -> String {
    match &status.upgrade {
        Some(upgrade) if status.phase == Phase::Receiving => {
            format!("{} {}\n{}", status.phase, bar(upgrade.progress), of_total(upgrade.progress))
        }
        Some(upgrade) => {
            let left = upgrade
                .seconds_left
                .map(|seconds| format!(", at most {} more", self::seconds(seconds)))
                .unwrap_or_default();
            let failure = upgrade
                .failure
                .as_ref()
                .map(|failure| format!("\nthe last file was {}: {failure}", paint::bad("refused")))
                .unwrap_or_default();
            let percent =
                upgrade.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
            let phase = match status.phase {
                waiting @ (Phase::Ready | Phase::Deferred) => paint::waiting(waiting.as_str()),
                phase => phase.to_string(),
            };
            format!("{phase}{percent}{left}{}{}{failure}", doing(upgrade), waits_for(upgrade))
        }
        None => status.phase.to_string(),
    }
}

/// What another updater does, on a line of its own.
fn doing(upgrade: &CurrentUpgrade) -> String {
    upgrade.doing.as_ref().map(|doing| format!("\n{}", plain(doing))).unwrap_or_default()
}

/// What a trial waits for, or what was put off, on a line of its own.
pub(super) fn waits_for(upgrade: &CurrentUpgrade) -> String {
    match (&upgrade.waits_for, &upgrade.deferred_because) {
        (Some(wait), _) => format!("\n{wait}"),
        (None, Some(why)) => format!("\n{}: {}", paint::waiting("waits"), plain(why)),
        (None, None) => String::new(),
    }
}

/// How far it is, in one line.
pub(super) fn progress(progress: Progress) -> String {
    format!("{}, {}", bar(progress), of_total(progress))
}

fn of_total(Progress { done, total }: Progress) -> String {
    format!("{} of {}", bytes(done), bytes(total))
}

fn bar(progress: Progress) -> String {
    let percent = usize::from(progress.percent());
    let full = percent * BAR_WIDTH / 100;
    format!("[{}{}] {percent} %", "#".repeat(full), "-".repeat(BAR_WIDTH - full))
}

/// Bytes with a unit that keeps the number short.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} B"),
    }
}

/// Bytes a second, in no more digits than stay calm.
pub(super) fn rate(rate: u64) -> String {
    let text = bytes(rate);
    match text.split_once('.') {
        Some((whole, rest)) if whole.len() > 1 => {
            format!("{whole}{}/s", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        _ => format!("{text}/s"),
    }
}

/// Seconds as a person says them.
pub(super) fn seconds(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

/// One upgrade in one line.
pub(super) fn report_line(report: &Report) -> String {
    format!("{} {}", report.ended, outcome(report))
}

/// From what to what, over what, how it ended, and why.
fn outcome(report: &Report) -> String {
    let why = report.failure.as_ref().map(|failure| format!(": {failure}")).unwrap_or_default();
    ending(report) + &why
}

/// From what to what, over what, and how it ended.
pub(super) fn ending(report: &Report) -> String {
    let way = match report.request.transfer {
        TransferKind::Local => "at the shell".to_owned(),
        TransferKind::HandOver => format!("by {}", report.request.channel),
        transfer => format!("over {transfer}"),
    };
    let mut text = format!("{} {way}: {}", change(report), paint::outcome(report.outcome));
    if let Some(failure) = &report.failure {
        let _ = write!(text, ", {}", failure.kind);
    }
    text
}

/// From what to what.
pub(super) fn change(report: &Report) -> String {
    let from = report.from.map_or_else(|| "unknown version".into(), |version| version.to_string());
    let to = match (&report.package, &report.file_name) {
        (Some(package), _) => package.version.to_string(),
        (None, Some(name)) => format!("{name:?}"),
        (None, None) => "unknown version".into(),
    };
    format!("{}{from} -> {to}", of_component(report.component))
}

/// How much came, and how much that became, where the two differ.
fn sizes(report: &Report) -> Option<String> {
    let package = report.package.as_ref()?;
    let program = package.program_size?;
    Some(format!("{} came, a container of a program of {}", bytes(package.size), bytes(program)))
}

/// Which component is meant, where it is not the one that nobody need name.
fn of_component(component: Option<ComponentName>) -> String {
    let named = component.filter(|component| *component != ComponentName::PROGRAM);
    named.map_or_else(String::new, |component| format!("{component} "))
}

/// The evidence of a program that becomes another one.
const STARTED: &str = "systemd started the unit's main process from the path after the swap, and the installed digest is there; \
                       what that process runs was not looked at";

/// A report as `uplift install` prints it at its end: first what that means, then the details.
pub(super) fn report(report: &Report) -> String {
    let mut text = format!("{}\n  {} {}\n", what_it_means(report), report.ended, ending(report));
    if report.outcome == Outcome::Succeeded {
        let evidence = match report.evidence.as_ref().map(|evidence| evidence.running) {
            Some(RunningEvidence::Verified) => "the unit is active and runs the installed digest",
            Some(RunningEvidence::Started) => STARTED,
            Some(RunningEvidence::NoUnit) => {
                "the installed digest is at the path after a restart; no unit is named, so the process was not looked at"
            }
            Some(RunningEvidence::VersionTold) => "the updater succeeded, and the version was told",
            Some(RunningEvidence::ReadBack) => {
                "the microcontroller showed the program after a reset"
            }
            Some(RunningEvidence::UpdaterSays) => {
                "the updater says so; no `version_command` is given, so nothing else was asked"
            }
            Some(RunningEvidence::Contradicted) | None => "none",
        };
        let _ = writeln!(
            text,
            "  evidence: {evidence}{}",
            report.evidence.as_ref().map(trial).unwrap_or_default()
        );
    }
    if let Some(sizes) = sizes(report) {
        let _ = writeln!(text, "  {sizes}");
    }
    // What took no time that can be seen is no news.
    let phases = report.phases.iter().filter(|duration| duration.milliseconds > 0);
    let phases: Vec<String> = phases
        .map(|duration| {
            format!(
                "{} {}.{:03} s",
                duration.phase,
                duration.milliseconds / 1000,
                duration.milliseconds % 1000
            )
        })
        .collect();
    if !phases.is_empty() {
        let _ = writeln!(text, "  took: {}", phases.join(", "));
    }
    text.push_str(&program_log(report));
    text
}

/// What a person wants to know first.
fn what_it_means(report: &Report) -> String {
    let version = |version: Option<Version>, otherwise: &str| {
        version.map_or_else(|| otherwise.to_owned(), |version| version.to_string())
    };
    let new = || version(report.package.as_ref().map(|package| package.version), "The new program");
    let failure =
        report.failure.as_ref().map_or_else(String::new, |failure| format!(": {failure}"));
    match report.outcome {
        Outcome::Succeeded
            if report.evidence.as_ref().is_some_and(|evidence| is_proved(evidence.running)) =>
        {
            format!("{} runs now.", new())
        }
        Outcome::Succeeded
            if report.evidence.as_ref().is_some_and(|evidence| !evidence.restarted) =>
        {
            format!("{} is installed.", new())
        }
        Outcome::Succeeded => format!("{} is installed, and the restart has come.", new()),
        Outcome::RolledBack => {
            format!("{} is back{failure}.", version(report.from, "The program before"))
        }
        Outcome::Failed => format!("The upgrade {}{failure}.", paint::bad("failed")),
    }
}

/// Whether something else than a file and a restart was seen.
const fn is_proved(running: RunningEvidence) -> bool {
    matches!(running, RunningEvidence::Verified | RunningEvidence::VersionTold)
}

/// What else the trial saw.
fn trial(evidence: &Evidence) -> String {
    let mut text = match evidence.restarts {
        0 => String::new(),
        1 => ", after 1 restart".into(),
        restarts => format!(", after {restarts} restarts"),
    };
    if evidence.boots > 1 {
        let _ = write!(text, ", in {} boots", evidence.boots);
    }
    if let Some(command) = &evidence.health_command {
        let _ = write!(text, "; `{}` succeeded", command.join(" "));
    }
    match evidence.bridge {
        Some(BridgeHealth::Connected) => text.push_str("; it speaks at the bridge"),
        Some(BridgeHealth::Aircraft) => {
            text.push_str("; it speaks at the bridge, and has seen the aircraft");
        }
        None => {}
    }
    if let Some(by) = &evidence.confirmed_by {
        let _ = write!(text, "; confirmed by {by}");
    }
    text
}

/// The last lines of a program that was rolled back, indented below its report.
pub(super) fn program_log(report: &Report) -> String {
    report.program_log.iter().map(|line| format!("    | {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_one_decimal() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        assert_eq!(bytes(u64::MAX), "17179869183.9 GiB");
    }

    #[test]
    fn a_rate_and_a_time_have_few_digits() {
        assert_eq!(
            [rate(999), rate(1536), rate(35 << 10), rate(1500 << 10)],
            ["999 B/s", "1.5 KiB/s", "35 KiB/s", "1.4 MiB/s"]
        );
        assert_eq!([seconds(119), seconds(121), seconds(7201)], ["119 s", "3 min", "3 h"]);
    }

    #[test]
    fn a_bar_is_always_as_wide() {
        for done in 0..=100 {
            let text = bar(Progress { done, total: 100 });
            assert_eq!(text.find(']'), Some(BAR_WIDTH + 1));
        }
    }
}
