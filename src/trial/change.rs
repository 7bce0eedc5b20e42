//! The trial of what another updater has installed: the version that a command tells, a health
//! command, and where that is asked for, a person's word. There is no file at a path to look at.
//!
//! Knows what the terms are; nothing of peers, journal or what follows from a verdict.

#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::command::{HEALTH_DEADLINE, HEALTH_INTERVAL, blocking, pause, succeeds};
use super::health::Observer;
use crate::component::command::told_version;
use crate::host::command::Isolation;
use crate::model::version::Version;
use crate::model::{
    ChangeTerms, Confirm, Evidence, Failure, FailureKind, RunningEvidence, TrialWait, Verdict,
};

/// How the commands of a trial are run.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// What keeps them from the machine.
    pub isolation: Isolation,
    /// How long one answer about the version may take.
    pub version_deadline: Duration,
}

/// The trial of one version, in one boot.
pub struct Trial {
    version: Version,
    terms: ChangeTerms,
    way: Way,
    confirmed: watch::Receiver<bool>,
    observer: Observer,
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Trial {
    /// A trial of this version. `confirmed` becomes true when a person says so.
    pub fn new(
        version: Version,
        terms: ChangeTerms,
        way: Way,
        confirmed: watch::Receiver<bool>,
        observer: Observer,
    ) -> Self {
        Self { version, terms, way, confirmed, observer }
    }

    /// Gathers the evidence until the deadline; a verdict says what is missing in it.
    pub async fn run(mut self) -> Result<Evidence, Verdict> {
        let end = Instant::now() + self.terms.deadline;
        while let Some(wait) = self.look(end).await {
            if Instant::now() >= end {
                return Err(self.too_late(wait).into());
            }
            (self.observer)(wait);
            pause(&mut self.confirmed, HEALTH_INTERVAL, end).await;
        }
        Ok(self.evidence())
    }

    /// What is still waited for.
    async fn look(&self, end: Instant) -> Option<TrialWait> {
        if let Err(why) = self.version_is_told(end).await {
            return Some(TrialWait::Version { why });
        }
        if let Some(command) = &self.terms.health_command {
            let left = end.saturating_duration_since(Instant::now());
            let deadline = HEALTH_DEADLINE.min(left.max(HEALTH_INTERVAL));
            if let Err(error) = succeeds(command, self.way.isolation, deadline).await {
                return Some(TrialWait::HealthCommand { why: Some(error.to_string()) });
            }
        }
        let confirmed = self.terms.confirm == Confirm::Auto || *self.confirmed.borrow();
        (!confirmed).then_some(TrialWait::Confirmation {})
    }

    async fn version_is_told(&self, end: Instant) -> Result<(), String> {
        let Some(command) = self.terms.version_command.clone() else { return Ok(()) };
        let Way { isolation, version_deadline } = self.way;
        let left = end.saturating_duration_since(Instant::now()).max(HEALTH_INTERVAL);
        let deadline = version_deadline.min(left);
        let ask = move || told_version(&command, isolation, deadline).map_err(io::Error::other);
        match blocking(ask).await {
            Ok(version) if version == self.version => Ok(()),
            Ok(version) => Err(format!("{version} is told, not {}", self.version)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn evidence(&self) -> Evidence {
        Evidence {
            restarted: self.terms.restart.is_some(),
            digest_at_path: false,
            running: match self.terms.version_command {
                Some(_) => RunningEvidence::VersionTold,
                None if self.terms.read_back => RunningEvidence::ReadBack,
                None => RunningEvidence::UpdaterSays,
            },
            restarts: 0,
            // The machine knows the boots, and who confirmed.
            boots: 0,
            health_command: self.terms.health_command.clone(),
            bridge: None,
            confirmed_by: None,
        }
    }

    fn too_late(&self, wait: TrialWait) -> Failure {
        let deadline = humantime::format_duration(self.terms.deadline);
        let (sentence, cause) = match wait {
            TrialWait::Version { why } => {
                (format!("{} was not told within {deadline}", self.version), Some(why))
            }
            TrialWait::Confirmation {} => {
                (format!("nobody confirmed within {deadline} that {} works", self.version), None)
            }
            TrialWait::HealthCommand { why } => {
                (format!("the health command did not succeed within {deadline}"), why)
            }
            TrialWait::Unit { .. } | TrialWait::Window { .. } | TrialWait::Bridge { .. } => {
                (format!("the trial did not end within {deadline}"), None)
            }
        };
        Failure {
            causes: cause.into_iter().collect(),
            ..Failure::new(FailureKind::Unhealthy, sentence)
        }
    }
}
