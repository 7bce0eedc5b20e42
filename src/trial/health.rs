//! The trial after a restart: what is seen of the new program, never what was planned.
//!
//! With a unit named: it is active, its main process runs the installed digest, and it has not
//! restarted for the window. A program that becomes another one, by the configuration's word, is
//! proved by its start alone. Without one: the digest at the path, and the report says that nothing
//! is known of the process. Then the health command succeeds, the unit is looked at once more, and
//! where that is asked for, a person has confirmed.
//!
//! Knows what systemd says and what the terms are; nothing of peers, journal or what follows from a
//! verdict.

#[cfg(test)]
mod tests;
mod window;

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::component::program::Program;
use crate::digest::program_digest;
use crate::disk::stamp::{Stamp, stamp};
use crate::host;
use crate::host::command::Isolation;
use crate::host::unit::{self, Started, Unit};
use crate::model::{
    BridgeHealth, Confirm, Evidence, Failure, FailureKind, Form, ProgramDigest, RunningEvidence,
    Runs, Terms, TrialWait, Verdict,
};

use super::application::{Applications, Bridge};
use super::command::{HEALTH_DEADLINE, HEALTH_INTERVAL, blocking, pause, succeeds};
use window::Window;

/// Between two looks at the unit: systemd tells of a start by no event that a plain program could
/// wait for.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What most likely happened to a tree that is another one after its restart.
const WRITTEN_INTO: &str = "something has written into the directory, as Python does with `__pycache__`: what changes belongs elsewhere, and `uplift install --force` lets the tree in again";

/// Who is told what the trial waits for.
pub type Observer = Box<dyn Fn(TrialWait) + Send + Sync>;

/// The trial of one new program, in one boot.
pub struct Trial {
    expected: ProgramDigest,
    program: Program,
    terms: Terms,
    isolation: Isolation,
    confirmed: watch::Receiver<bool>,
    observer: Observer,
    window: Window,
    /// The file that was hashed last, as a process's executable: a large one takes seconds to read.
    hashed: Option<(Stamp, ProgramDigest)>,
    /// The process that was started from the path and ran another executable at the last look.
    other: Option<(u32, Stamp)>,
    health: Health,
    /// Where the program may have to show itself.
    bridge: Option<Bridge>,
}

/// How the health command has done since the unit's last start.
#[derive(Debug, Clone)]
enum Health {
    /// To be run, at once or after a failure.
    Due {
        at: Instant,
        why: Option<String>,
    },
    Succeeded,
}

impl Health {
    fn due() -> Self {
        Self::Due { at: Instant::now(), why: None }
    }
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial")
            .field("expected", &self.expected)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

impl Trial {
    /// A trial of what was installed (`expected`) at the program's path. `confirmed` becomes true
    /// when a person says so.
    pub fn new(
        expected: ProgramDigest,
        program: Program,
        terms: Terms,
        confirmed: watch::Receiver<bool>,
        observer: Observer,
    ) -> Self {
        let (isolation, window, health) = (Isolation::default(), Window::default(), Health::due());
        Self {
            expected,
            program,
            terms,
            isolation,
            confirmed,
            observer,
            window,
            hashed: None,
            other: None,
            health,
            bridge: None,
        }
    }

    /// The same, with the health command run as it is configured.
    pub fn with_isolation(self, isolation: Isolation) -> Self {
        Self { isolation, ..self }
    }

    /// The same, where a program may have to show itself to the bridge.
    pub fn with_applications(self, applications: Applications) -> Self {
        Self { bridge: Some(Bridge::new(applications)), ..self }
    }

    /// Gathers the evidence until the deadline; a verdict says what is missing in it, or what ended
    /// the trial before.
    pub async fn run(mut self) -> Result<Evidence, Verdict> {
        match self.watch().await {
            Ok(evidence) => Ok(evidence),
            Err(failure) => {
                // Where somebody else replaced it, what was seen proves nothing about the program
                // on trial.
                let failure = self.check_path(Program::known_digest).await.err().unwrap_or(failure);
                let before = self.terms.start_before.as_deref();
                let program_log = match &self.terms.unit {
                    Some(unit) => unit::last_lines(unit, self.window.unit_name(), before).await,
                    None => Vec::new(),
                };
                Err(Verdict { failure, program_log })
            }
        }
    }

    async fn watch(&mut self) -> Result<Evidence, Failure> {
        let end = Instant::now() + self.terms.deadline;
        self.check_path(Program::proved_digest).await?;
        loop {
            let wait = match self.look().await? {
                Some(wait) => wait,
                None => match self.check_health(end).await {
                    Checked::Now => continue, // the unit is looked at once more
                    Checked::Before => match self.check_bridge().await {
                        Some(wait) => wait,
                        None if self.is_confirmed() => return Ok(self.evidence()),
                        None => TrialWait::Confirmation {},
                    },
                    Checked::Waits(wait) => wait,
                },
            };
            if Instant::now() >= end {
                return Err(self.too_late(wait));
            }
            (self.observer)(wait);
            pause(&mut self.confirmed, LOOK_INTERVAL, end).await;
        }
    }

    async fn check_path(
        &self,
        read: fn(&Program) -> io::Result<Option<ProgramDigest>>,
    ) -> Result<(), Failure> {
        let program = self.program.clone();
        let at_path = blocking(move || read(&program)).await.map_err(|error| {
            Failure::new(FailureKind::Unhealthy, "the program can't be read after the restart")
                .because(error)
        })?;
        if at_path == Some(self.expected) {
            return Ok(());
        }
        let sentence = "the program at the path is not the one that was installed";
        let failure = Failure::new(FailureKind::InstallFailed, sentence);
        Err(match self.terms.form {
            Form::File => failure,
            Form::Tree => failure.with_hint(WRITTEN_INTO),
        })
    }

    /// Looks at the unit: what it waits for, or nothing when it has been stable for the window.
    /// Without a unit there is nothing to look at. A unit that systemd has given up is a failure at
    /// once.
    async fn look(&mut self) -> Result<Option<TrialWait>, Failure> {
        let Some(name) = self.terms.unit.clone() else { return Ok(None) };
        let unit = match unit::show(&name).await {
            Ok(unit) => unit,
            Err(error) => return Ok(Some(TrialWait::Unit { why: error.to_string() })),
        };
        self.window.count(&unit);
        if unit.active_state == "failed" {
            return Err(Failure::new(
                FailureKind::Unhealthy,
                format!("{name} has failed{}", self.after_restarts()),
            ));
        }
        match self.check_process(&name, &unit).await {
            Ok(()) => {}
            Err(NotRunning::Yet(why)) => return Ok(Some(TrialWait::Unit { why })),
            Err(NotRunning::Ever(failure)) => return Err(failure),
        }
        if self.window.begins_with(&unit, Instant::now()) {
            self.health = Health::due();
        }
        let stable = self.window.stable(Instant::now());
        let wait =
            || TrialWait::Window { stable: stable.as_secs(), window: self.terms.window.as_secs() };
        Ok((stable < self.terms.window).then(wait))
    }

    async fn check_process(&mut self, name: &str, unit: &Unit) -> Result<(), NotRunning> {
        let Some(pid) = unit.main_pid.filter(|_| unit.active_state == "active") else {
            let without =
                if unit.active_state == "active" { " without a main process" } else { "" };
            return Err(NotRunning::Yet(format!("it is {}{without}", unit.active_state)));
        };
        if self.terms.runs == Runs::Another {
            let path = self.terms.program.display();
            let not_started = || {
                NotRunning::Yet(format!(
                    "systemd has not started process {pid} from {path} since the swap"
                ))
            };
            return self.was_started_anew(unit, pid).then_some(()).ok_or_else(not_started);
        }
        let exe = host::executable(pid);
        let unreadable = |error| NotRunning::Yet(format!("process {pid} can't be read: {error}"));
        let found = std::fs::metadata(&exe).map(|metadata| stamp(&metadata)).map_err(unreadable)?;
        let digest = match self.hashed_as(found) {
            Some(digest) => digest,
            None => {
                let digest = blocking(move || program_digest(std::fs::File::open(exe)?))
                    .await
                    .map_err(unreadable)?;
                let after =
                    unit::show(name).await.map_err(|error| NotRunning::Yet(error.to_string()))?;
                if after != *unit {
                    return Err(NotRunning::Yet("it restarts".into()));
                }
                self.hashed = Some((found, digest));
                digest
            }
        };
        if digest == self.expected {
            return Ok(());
        }
        let other = std::fs::read_link(host::executable(pid)).unwrap_or_default();
        let became_other = self.was_started_anew(unit, pid) && !is_systemd(&other);
        let before = std::mem::replace(&mut self.other, became_other.then_some((pid, found)));
        // A second look, because the first may have come in the midst of a start.
        if became_other && before == self.other {
            return Err(NotRunning::Ever(self.became(name, &other)));
        }
        Err(NotRunning::Yet(format!(
            "process {pid} runs another program ({}, {digest})",
            other.display()
        )))
    }

    /// The digest of this file, where it is the one that was hashed last, or the one that was read
    /// at the path.
    fn hashed_as(&self, found: Stamp) -> Option<ProgramDigest> {
        let hashed = self.hashed.filter(|(stamp, _)| *stamp == found).map(|(_, digest)| digest);
        hashed.or_else(|| self.program.proved_digest_of(found))
    }

    /// Whether systemd itself started this process from the program's path, after the swap.
    fn was_started_anew(&self, unit: &Unit, pid: u32) -> bool {
        let is_new = unit.invocation.is_some() && unit.invocation != self.terms.start_before;
        let is_program =
            |path: &Path| match (path.canonicalize(), self.terms.program.canonicalize()) {
                (Ok(path), Ok(program)) => path == program,
                _ => false,
            };
        // What a unit runs of a tree may be an interpreter, with words that name what is in it.
        let is_of_tree = self.terms.form == Form::Tree;
        let is_started = |started: &Started| started.pid == pid && is_program(&started.path);
        is_new && (is_of_tree || unit.started.as_ref().is_some_and(is_started))
    }

    fn became(&self, name: &str, other: &Path) -> Failure {
        let (program, other) = (self.terms.program.display(), other.display());
        let sentence =
            format!("{name} runs {other}: systemd started {program}, and it became that program");
        Failure::new(FailureKind::Unhealthy, sentence).with_hint(
            "start the program itself; where it must become another one (an AppImage, a wrapper), give `runs = \"another\"` in the \
             [component.NAME] section: then its start is all that is proved. `uplift install --force` lets the file in again",
        )
    }

    /// Runs the health command if it is due.
    async fn check_health(&mut self, end: Instant) -> Checked {
        let Some(command) = self.terms.health_command.clone() else { return Checked::Before };
        let left = end.saturating_duration_since(Instant::now());
        match &self.health {
            Health::Succeeded => return Checked::Before,
            // A last run without the time to end would only hide why the others failed.
            Health::Due { at, why }
                if Instant::now() < *at || (why.is_some() && left < HEALTH_INTERVAL) =>
            {
                return Checked::Waits(TrialWait::HealthCommand { why: why.clone() });
            }
            Health::Due { why, .. } => {
                (self.observer)(TrialWait::HealthCommand { why: why.clone() });
            }
        }
        match succeeds(&command, self.isolation, HEALTH_DEADLINE.min(left)).await {
            Ok(()) => {
                self.health = Health::Succeeded;
                Checked::Now
            }
            Err(error) => {
                let why = Some(error.to_string());
                self.health =
                    Health::Due { at: Instant::now() + HEALTH_INTERVAL, why: why.clone() };
                Checked::Waits(TrialWait::HealthCommand { why })
            }
        }
    }

    /// What is missing at the bridge, where the program must show itself there.
    async fn check_bridge(&mut self) -> Option<TrialWait> {
        let (needed, unit) = (self.terms.bridge?, self.terms.unit.clone()?);
        let Some(bridge) = &mut self.bridge else {
            return Some(TrialWait::Bridge { why: "this daemon has no bridge".into() });
        };
        let shown = bridge.look(&unit, self.expected, needed == BridgeHealth::Aircraft).await;
        shown.err().map(|why| TrialWait::Bridge { why })
    }

    fn is_confirmed(&self) -> bool {
        self.terms.confirm == Confirm::Auto || *self.confirmed.borrow()
    }

    fn evidence(&self) -> Evidence {
        Evidence {
            restarted: true,
            digest_at_path: true,
            running: match (&self.terms.unit, self.terms.runs) {
                (None, _) => RunningEvidence::NoUnit,
                (Some(_), Runs::Itself) => RunningEvidence::Verified,
                (Some(_), Runs::Another) => RunningEvidence::Started,
            },
            restarts: self.window.restarts(),
            // The machine knows the boots, and who confirmed.
            boots: 0,
            health_command: self.terms.health_command.clone(),
            bridge: self.terms.bridge,
            confirmed_by: None,
        }
    }

    fn too_late(&self, wait: TrialWait) -> Failure {
        let deadline = humantime::format_duration(self.terms.deadline);
        let unit = self.terms.unit.as_deref().unwrap_or_default();
        let restarts = self.after_restarts();
        let (sentence, cause) = match wait {
            TrialWait::Unit { why } => (
                format!(
                    "{unit} does not run the new program {deadline} after the restart{restarts}"
                ),
                Some(why),
            ),
            TrialWait::Window { .. } => {
                let window = humantime::format_duration(self.terms.window);
                (format!("{unit} was not stable for {window} within {deadline}{restarts}"), None)
            }
            TrialWait::Bridge { why } => (
                format!("the program did not show itself at the bridge within {deadline}"),
                Some(why),
            ),
            TrialWait::Version { why } => ("the version was not told".into(), Some(why)),
            TrialWait::HealthCommand { why } => {
                (format!("the health command did not succeed within {deadline}"), why)
            }
            TrialWait::Confirmation {} => {
                (format!("nobody confirmed within {deadline} that the new program works"), None)
            }
        };
        Failure {
            causes: cause.into_iter().collect(),
            ..Failure::new(FailureKind::Unhealthy, sentence)
        }
    }

    fn after_restarts(&self) -> String {
        match self.window.restarts() {
            0 => String::new(),
            1 => ", after 1 restart".into(),
            restarts => format!(", after {restarts} restarts"),
        }
    }
}

/// Why the unit's process is not the program.
enum NotRunning {
    /// It may become it.
    Yet(String),
    /// It was, and is not any more.
    Ever(Failure),
}

/// Between fork and exec a process still is what started it: systemd, or its helper from version
/// 255 on.
fn is_systemd(executable: &Path) -> bool {
    executable.file_name().is_some_and(|name| name == "systemd" || name == "systemd-executor")
}

/// What is known of the program's health.
enum Checked {
    /// It was found just now.
    Now,
    /// It is known, or nobody asks for it.
    Before,
    Waits(TrialWait),
}
