//! The trial after a restart: what is seen of the new program, never what was planned.
//!
//! With a unit named: it is active, and its main process runs the installed digest (the same invocation before and after
//! the process was hashed). Without one: the digest at the path, and the report says that nothing is known of the process.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::model::{Evidence, Failure, FailureKind, RunningEvidence};
use crate::package::digest::{ProgramDigest, program_digest};
use crate::target::program::Program;
use crate::unit;

/// Between two looks at the unit: systemd tells of a start by no event that a plain program could wait for.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The trial of one new program.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What was installed.
    pub expected: ProgramDigest,
    /// Where it was installed.
    pub program: Program,
    /// The program's unit, where one is named.
    pub unit: Option<String>,
    /// How long the unit may take to become active with the new program.
    pub deadline: Duration,
}

impl Trial {
    /// Gathers the evidence; a failure says what is missing in it when the deadline has passed.
    pub async fn run(self) -> Result<Evidence, Failure> {
        self.check_path().await?;
        let running = match &self.unit {
            None => RunningEvidence::NoUnit,
            Some(unit) => {
                self.wait_for(unit).await?;
                RunningEvidence::Verified
            }
        };
        Ok(Evidence { restarted: true, digest_at_path: true, running })
    }

    async fn check_path(&self) -> Result<(), Failure> {
        let program = self.program.clone();
        let at_path = blocking(move || program.digest())
            .await
            .map_err(|error| Failure::new(FailureKind::Unhealthy, "the program can't be read after the restart").because(error))?;
        if at_path == Some(self.expected) {
            return Ok(());
        }
        Err(Failure::new(FailureKind::Unhealthy, "the program at the path is not the one that was installed"))
    }

    async fn wait_for(&self, unit: &str) -> Result<(), Failure> {
        let end = Instant::now() + self.deadline;
        loop {
            let Err(reason) = self.look_at(unit).await else { return Ok(()) };
            if Instant::now() >= end {
                let sentence = format!("{unit} does not run the new program {} s after the restart", self.deadline.as_secs());
                return Err(Failure { causes: vec![reason], ..Failure::new(FailureKind::Unhealthy, sentence) });
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    async fn look_at(&self, unit: &str) -> Result<(), String> {
        let before = unit::show(unit).await.map_err(|error| error.to_string())?;
        let Some(pid) = before.main_pid.filter(|_| before.active_state == "active") else {
            return Err(format!("the unit is {}", before.active_state));
        };
        let running = blocking(move || program_digest(std::fs::File::open(format!("/proc/{pid}/exe"))?))
            .await
            .map_err(|error| format!("process {pid} can't be read: {error}"))?;
        if running != self.expected {
            return Err(format!("process {pid} runs another program ({running})"));
        }
        let after = unit::show(unit).await.map_err(|error| error.to_string())?;
        if after == before { Ok(()) } else { Err("the unit restarted".into()) }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
