//! How the new program comes to run: a reboot, a restart of its unit, or a command; and the
//! evidence that it happened.
//!
//! Programs are spawned directly, with a deadline. Nothing here decides what follows from a
//! restart.

mod boot;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config;
use crate::digest::program_digest;
use crate::host;
use crate::host::unit;
use crate::model::{Failure, FailureKind, Origin, ProgramDigest, Restart, Terms};

pub use boot::boot_id;

/// Between two looks for the evidence of a restart. systemd tells no one-shot program of it, so
/// there is no event to wait for.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often one daemon asks for the restart of a program that must not run on, and how long it
/// waits after a refusal.
const MOST_REQUESTS_BACK: u32 = 3;
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// The terms of a configuration at this moment: with what follows from the program's unit, as
/// systemd has it now. A failure where systemd can't be asked of a unit whose start is the evidence
/// of a restart.
pub async fn agree(program: &config::Program) -> Result<Terms, Failure> {
    let mut terms = program.terms();
    let Some(name) = &terms.unit else { return Ok(terms) };
    match unit::show(name).await {
        Ok(unit) => {
            let (stop, start) =
                (unit.stop_timeout.unwrap_or_default(), unit.start_timeout.unwrap_or_default());
            terms.restart_deadline = program.restart_within(stop, start);
            terms.start_before = unit.invocation;
        }
        Err(error) if terms.restart != Restart::Reboot => return Err(untold(error)),
        Err(error) => tracing::warn!("systemd can't tell of {name}: {error}"),
    }
    Ok(terms)
}

fn untold(error: io::Error) -> Failure {
    Failure::new(FailureKind::RestartFailed, "systemd can't tell of the program's unit")
        .because(error)
}

/// How the program of an upgrade is restarted.
#[derive(Debug, Clone)]
pub struct Restarter {
    how: Restart,
    deadline: Duration,
    unit: Option<String>,
    boot_id: PathBuf,
}

impl Restarter {
    /// The restarter of these terms.
    pub fn new(terms: &Terms, paths: &config::Paths) -> Self {
        Self::by(
            terms.restart.clone(),
            terms.unit.clone(),
            terms.restart_deadline,
            paths.boot_id.clone(),
        )
    }

    /// The restarter of whoever has no configuration and knows but a part of the terms.
    pub(crate) fn by(
        how: Restart,
        unit: Option<String>,
        deadline: Duration,
        boot_id: PathBuf,
    ) -> Self {
        Self { how, deadline, unit, boot_id }
    }

    /// Whether a restart in the same boot can be told from none.
    pub(crate) fn leaves_evidence(&self) -> bool {
        !matches!(self.how, Restart::Command(_)) || self.unit.is_some()
    }

    /// How long the restart may take to begin.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The same restart, when so much of its time is over.
    pub(crate) fn after(self, waited: Duration) -> Self {
        Self { deadline: self.deadline.saturating_sub(waited), ..self }
    }

    /// Whether it takes the machine down, as a command may, too.
    pub(crate) fn takes_machine_down(&self) -> bool {
        !matches!(self.how, Restart::Unit(_))
    }

    /// Asks for the restart, and does not wait for it.
    pub(crate) async fn ask(&self) -> Result<(), Failure> {
        self.request(Instant::now() + self.deadline).await
    }

    /// The boot and the invocation that run now: what another one later is compared with. A failure
    /// where systemd can't tell the invocation, because then the one that runs would pass for a new
    /// one later.
    pub async fn origin(&self) -> Result<Origin, Failure> {
        let boot_id = self.boot()?;
        let invocation = match self.evident_unit() {
            Some(unit) => unit::show(unit).await.map_err(untold)?.invocation,
            None => None,
        };
        Ok(Origin { boot_id, invocation })
    }

    /// [`Restarter::origin`] as far as it can be told: an invocation that is not known proves no
    /// restart.
    pub async fn found(&self) -> Result<Origin, Failure> {
        let boot_id = self.boot()?;
        let invocation = match self.evident_unit() {
            Some(unit) => unit::show(unit).await.ok().and_then(|unit| unit.invocation),
            None => None,
        };
        Ok(Origin { boot_id, invocation })
    }

    /// Whether the unit's main process is known to run this program. Where it can't be told, or
    /// there is no unit, it is not known.
    pub(crate) async fn runs(&self, program: ProgramDigest) -> bool {
        let Some(unit) = &self.unit else { return false };
        let Ok(Some(pid)) = unit::show(unit).await.map(|unit| unit.main_pid) else { return false };
        let executable = host::executable(pid);
        let read = move || program_digest(std::fs::File::open(executable)?);
        matches!(tokio::task::spawn_blocking(read).await, Ok(Ok(digest)) if digest == program)
    }

    /// The unit whose invocation is evidence. A reboot is proved by nothing but another boot: units
    /// restart for many reasons.
    fn evident_unit(&self) -> Option<&str> {
        if matches!(self.how, Restart::Reboot) { None } else { self.unit.as_deref() }
    }

    fn boot(&self) -> Result<String, Failure> {
        boot_id(&self.boot_id).map_err(|error| {
            Failure::new(
                FailureKind::Internal,
                format!("the boot id can't be read from {}", self.boot_id.display()),
            )
            .because(error)
        })
    }

    /// Asks for the restart and waits until its evidence is seen: what runs then. A reboot ends
    /// this process before that.
    pub async fn restart(&self, before: &Origin) -> Result<Origin, Failure> {
        let end = Instant::now() + self.deadline;
        self.request(end).await?;
        self.await_evidence(before, end).await
    }

    /// The same for a program that must not run on: a request that is refused is made again, as
    /// often as makes sense.
    pub async fn restart_back(&self, before: &Origin) -> Result<Origin, Failure> {
        let end = Instant::now() + self.deadline;
        let mut requests = 1;
        while let Err(failure) = self.request(end).await {
            if requests == MOST_REQUESTS_BACK || Instant::now() + REQUEST_INTERVAL >= end {
                return Err(failure);
            }
            requests += 1;
            sleep(REQUEST_INTERVAL).await;
        }
        self.await_evidence(before, end).await
    }

    async fn await_evidence(&self, before: &Origin, end: Instant) -> Result<Origin, Failure> {
        loop {
            if let Ok(Ok(found)) = timeout_at(end, self.found()).await
                && found.restarted_since(before)
            {
                return Ok(found);
            }
            if Instant::now() >= end {
                return Err(self.never_came());
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn never_came(&self) -> Failure {
        let failure = Failure::new(
            FailureKind::RestartFailed,
            format!("the restart did not come within {} s", self.deadline.as_secs()),
        );
        match &self.unit {
            None => failure,
            Some(unit) => failure.with_hint(format!(
                "the old program was put back; where {unit} takes longer to end, shorten `TimeoutStopSec=` of it, or raise `restart_deadline` \
                 in its [component.NAME] section; `uplift config check` compares them"
            )),
        }
    }

    /// A unit that crashed up to its start limit is not started for a while, be the program at its
    /// path another one by now.
    async fn lift_start_limit(&self, end: Instant) {
        let Some(unit) = self.evident_unit() else { return };
        // Where there is nothing to lift, or nobody who could, the restart itself tells.
        let _ = timeout_at(end, host::output("systemctl", &["reset-failed", "--", unit])).await;
    }

    async fn request(&self, end: Instant) -> Result<(), Failure> {
        let (program, arguments): (&str, Vec<&str>) = match &self.how {
            Restart::Reboot => ("systemctl", vec!["--no-block", "reboot"]),
            // Whether the new program starts is for the trial to judge, not for the one who asks.
            Restart::Unit(unit) => ("systemctl", vec!["--no-block", "restart", "--", unit]),
            Restart::Command(command) => {
                let mut words = command.iter().map(String::as_str);
                (words.next().unwrap_or_default(), words.collect())
            }
        };
        self.lift_start_limit(end).await;
        let failed = |sentence: String| Failure::new(FailureKind::RestartFailed, sentence);
        let output = timeout(
            end.saturating_duration_since(Instant::now()),
            host::output(program, &arguments),
        )
        .await
        .map_err(|_| {
            failed(format!("`{program}` did not end within {} s", self.deadline.as_secs()))
        })?
        .map_err(|error| failed(format!("`{program}` can't be started")).because(error))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(format!(
            "`{program}` ended with {}: {}",
            output.status,
            said.trim().chars().take(500).collect::<String>()
        )))
    }
}
