//! The second, independent deadline of a trial: `uplift-rescue` rolls back when no verdict came in
//! time, or when the boots of the trial are used up, whatever became of the daemon and of the new
//! program.
//!
//! It runs early in each boot, and by a timer while a trial is under way. It knows `state.json`
//! (`trial`, read leniently) and writes `rescue.json` (`file`), which the daemon begins before the
//! swap (`copy`), and nothing else of the state; it must not need the daemon, the new program or
//! the configuration. A verdict is written before it is carried out, so that a power cut between
//! the two costs nothing: the next call, or the daemon, completes it. What it decides is in
//! `judge`, for people in docs/use/rescue.md.

pub mod command;
mod copy;
mod fuzz;
mod judge;
mod timer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::component::program::{Lock, Program};
use crate::disk::{Disk, LocalDisk};
use crate::host::unit;
use crate::log::{self, About, message};
use crate::machine::Ruled;
use crate::model::{Failure, FailureKind, Phase, ProgramDigest, UpgradeId};
use crate::record::STATE_FILE;
use crate::record::rescue::{RESCUE_FILE, RescueFile, Ruling};
use crate::record::trial::{self, Known, Trial};
use crate::trial::restart::Restarter;

use judge::{Decision, Now, judge, trial_of};

pub(crate) use copy::SecondCopy;
#[doc(hidden)]
pub use fuzz::fuzz;
pub use judge::Call;
pub(crate) use timer::arm;

use timer::disarm;

/// Longest wait for `systemctl` or the restart command; the unit's own time-out is above it.
const LONGEST_REQUEST: Duration = Duration::from_secs(60);

/// The rescue of one payload.
#[derive(Debug)]
pub struct Rescue {
    disk: Arc<dyn Disk>,
    /// Directory of `state.json` and `rescue.json`.
    state: PathBuf,
    /// Where the kernel tells the boot id.
    boot_id: PathBuf,
    /// Where the kernel tells the seconds since this boot began, as `/proc/uptime` does.
    uptime: PathBuf,
    /// The timer that calls it.
    timer: String,
}

/// What lies on the disk.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    known: Known,
    file: Option<RescueFile>,
}

/// What the rescue has decided about this upgrade, and how far it came, by its file in the
/// directory of the state.
pub fn read_ruling(state_directory: &Path, upgrade: &UpgradeId) -> Option<Ruled> {
    // A file that can't be read holds no verdict; the rescue begins it anew and says so.
    let file = RescueFile::read(state_directory).ok()??;
    file.ruling.filter(|_| file.trial.upgrade == *upgrade).map(Ruled::from)
}

impl From<Ruling> for Ruled {
    fn from(Ruling { verdict, rolled_back, restart_from, .. }: Ruling) -> Self {
        Self { verdict, put_back: rolled_back, restart_from }
    }
}

impl Rescue {
    /// The rescue whose state is in `state`, whose kernel tells boot id and uptime in these files,
    /// and that this timer calls.
    pub fn new(state: PathBuf, boot_id: PathBuf, uptime: PathBuf, timer: String) -> Self {
        Self::on(Arc::new(LocalDisk), state, boot_id, uptime, timer)
    }

    /// [`Rescue::new`] on a disk of the caller's.
    pub(crate) fn on(
        disk: Arc<dyn Disk>,
        state: PathBuf,
        boot_id: PathBuf,
        uptime: PathBuf,
        timer: String,
    ) -> Self {
        Self { disk, state, boot_id, uptime, timer }
    }

    /// Does what is to be done at this call. A failure is tried again at the next one.
    pub async fn run(&self, call: Call) -> Result<(), Failure> {
        let seen = self.look();
        let Some(trial) = trial_of(&seen.known, seen.file.as_ref()) else {
            return self.stand_down(call, &seen).await;
        };
        speak_of(trial, Phase::Trial);
        let program =
            Program::on(Arc::clone(&self.disk), &trial.terms.program).in_form(trial.terms.form);
        let restarter = self.restarter(trial);
        let now = self.now(call, at_path(&program, trial), &restarter).await?;
        // Gathering it takes seconds, in which the lock must not be held.
        let program_log =
            match judge(&seen.known, seen.file.as_ref(), &now).new_verdict(seen.file.as_ref()) {
                Some(verdict) if verdict.program_log.is_empty() => last_lines(trial).await,
                _ => Vec::new(),
            };
        let lock = program.lock()?;
        let seen = self.look();
        let now = Now { at_path: at_path(&program, trial), ..now };
        let mut decision = judge(&seen.known, seen.file.as_ref(), &now);
        if let Some(verdict) = decision.new_verdict(seen.file.as_ref())
            && verdict.program_log.is_empty()
        {
            verdict.program_log = program_log;
        }
        match decision {
            Decision::StandDown => {
                drop(lock);
                self.stand_down(call, &seen).await
            }
            Decision::Wait(file) => {
                if seen.file.as_ref() != Some(&*file)
                    && let Err(failure) = self.write(&file)
                {
                    return self.roll_back_uncounted(call, *file, failure, &program, &lock).await;
                }
                drop(lock);
                self.wait(call, &file).await
            }
            Decision::RollBack(file) => {
                let rolled_back = self.roll_back(call, *file, &program, &lock).await?;
                drop(lock);
                self.restart_back(rolled_back, &restarter).await
            }
            Decision::Restart(file) => {
                // Uncounted, it would be asked for without end.
                self.write(&file)?;
                drop(lock);
                self.restart_back(*file, &restarter).await
            }
        }
    }

    fn look(&self) -> Seen {
        let file = RescueFile::read(&self.state).unwrap_or_else(|error| {
            let file = self.state.join(RESCUE_FILE);
            tracing::warn!(
                MESSAGE_ID = message::STATE_DAMAGED, UPLIFT_KIND = %FailureKind::Internal,
                "{} is damaged and is started again: {error}", file.display()
            );
            None
        });
        Seen { known: trial::read(&self.state), file }
    }

    fn restarter(&self, trial: &Trial) -> Restarter {
        let terms = &trial.terms;
        let deadline = terms.restart_deadline().min(LONGEST_REQUEST);
        Restarter::by(terms.restart.clone(), terms.unit.clone(), deadline, self.boot_id.clone())
    }

    async fn now(
        &self,
        call: Call,
        at_path: Option<ProgramDigest>,
        restarter: &Restarter,
    ) -> Result<Now, Failure> {
        let uptime = uptime(&self.uptime).map_err(|error| {
            Failure::new(FailureKind::Internal, format!("{} can't be read", self.uptime.display()))
                .because(error)
        })?;
        Ok(Now { call, origin: restarter.found().await?, uptime, at_path })
    }

    async fn wait(&self, call: Call, file: &RescueFile) -> Result<(), Failure> {
        let terms = &file.trial.terms;
        if file.ruling.is_some() {
            tracing::info!(
                "the old {} comes back by the daemon's word; it has {} s for the restart",
                terms.program.display(),
                terms.restart_deadline().as_secs()
            );
            return Ok(());
        }
        tracing::info!(
            "a new {} is on trial, boot {} of {}",
            terms.program.display(),
            file.boots,
            terms.boots
        );
        // At a boot the timer's own enabling may be missing; while it elapses it is armed.
        if call == Call::Boot { arm(&self.timer).await } else { Ok(()) }
    }

    /// A boot that can't be counted is the trial's last: a new program that fills the disk at each
    /// boot would stay for ever. At the timer's call the daemon has the trial in memory still.
    async fn roll_back_uncounted(
        &self,
        call: Call,
        file: RescueFile,
        why: Failure,
        program: &Program,
        lock: &Lock,
    ) -> Result<(), Failure> {
        if call == Call::Deadline {
            return Err(why);
        }
        let failure = Failure::new(why.kind, "the boot can't be counted").because(why);
        // Nothing runs at a boot that would need a restart.
        self.roll_back(call, file.concluded(failure, None), program, lock).await.map(drop)
    }

    /// The verdict first, then what it says. One that can't be written is carried out all the same:
    /// the daemon will report that the old program was put back, and not why.
    async fn roll_back(
        &self,
        call: Call,
        mut file: RescueFile,
        program: &Program,
        lock: &Lock,
    ) -> Result<RescueFile, Failure> {
        self.write_if_possible(&file);
        let RescueFile { trial, ruling: Some(ruling), .. } = &mut file else { return Ok(file) };
        let (path, failure) = (trial.terms.program.display(), &ruling.verdict.failure);
        speak_of(trial, Phase::Reverting);
        tracing::error!(
            MESSAGE_ID = message::RESCUE_ROLLS_BACK, UPLIFT_KIND = %failure.kind,
            "the new {path} is rolled back: {failure}"
        );
        program.revert_under(lock, trial.on_trial, trial.old)?;
        if call == Call::Deadline {
            let restarter = self.restarter(trial);
            let runs_new = ruling.restart_from.is_none() && restarter.runs(trial.on_trial).await;
            ruling.restart_from =
                judge::restart_from(trial, ruling, restarter.found().await.ok(), runs_new);
        }
        ruling.rolled_back = true;
        ruling.requests += u32::from(ruling.restart_from.is_some());
        self.write_if_possible(&file);
        Ok(file)
    }

    /// Asks for the restart of the old program, where one is needed. Whether it came is seen at the
    /// next call.
    async fn restart_back(
        &self,
        mut file: RescueFile,
        restarter: &Restarter,
    ) -> Result<(), Failure> {
        let Some(ruling) = file.ruling.as_mut().filter(|ruling| ruling.restart_from.is_some())
        else {
            return Ok(());
        };
        speak_of(&file.trial, Phase::Restarting);
        tracing::info!("restarting the old program");
        restarter.ask().await?;
        if !restarter.leaves_evidence() {
            // All that will ever be known is that the command succeeded.
            ruling.restart_from = None;
            self.write_if_current(&file)?;
        }
        Ok(())
    }

    async fn stand_down(&self, call: Call, seen: &Seen) -> Result<(), Failure> {
        let forgotten = SecondCopy::new(Arc::clone(&self.disk), self.state.clone()).forget();
        if call == Call::Boot {
            RescueFile::remove_unfinished(&*self.disk, &self.state).map_err(not_written)?;
        }
        if call == Call::Deadline {
            disarm(&self.timer).await?;
            if self.look().known != seen.known {
                // An upgrade armed the timer meanwhile, maybe before it was stopped. A needless
                // arming ends at its first call.
                arm(&self.timer).await?;
            }
        }
        match &seen.known {
            Known::Damaged(why) => {
                let sentence = format!(
                    "{} can't be read, and nothing was touched",
                    self.state.join(STATE_FILE).display()
                );
                Err(Failure {
                    causes: vec![why.clone()],
                    ..Failure::new(FailureKind::Internal, sentence)
                })
            }
            // The next boot tries again, or the daemon.
            _ => forgotten,
        }
    }

    /// The restart may have taken long, and the daemon may have begun the next upgrade meanwhile,
    /// with a file of its own.
    fn write_if_current(&self, file: &RescueFile) -> Result<(), Failure> {
        let _lock =
            Program::on(Arc::clone(&self.disk), &file.trial.terms.program).keep_others_out()?;
        let is_current =
            self.look().file.is_some_and(|there| there.trial.upgrade == file.trial.upgrade);
        if is_current { self.write(file) } else { Ok(()) }
    }

    fn write_if_possible(&self, file: &RescueFile) {
        if let Err(failure) = self.write(file) {
            tracing::error!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    fn write(&self, file: &RescueFile) -> Result<(), Failure> {
        file.write(&*self.disk, &self.state).map_err(not_written)
    }
}

/// What is said from now on is about this upgrade.
fn speak_of(trial: &Trial, phase: Phase) {
    let channel = trial.request.as_ref().map(|request| request.channel);
    let version = trial.package.as_ref().map(|package| package.version);
    log::about(Some(&About { id: &trial.upgrade, channel, phase, version }));
}

async fn last_lines(trial: &Trial) -> Vec<String> {
    let Some(unit) = &trial.terms.unit else { return Vec::new() };
    unit::last_lines(unit, None, trial.terms.start_before.as_deref()).await
}

/// Whole seconds of the first number in a file such as `/proc/uptime`, which counts what
/// CLOCK_BOOTTIME does.
fn uptime(file: &Path) -> io::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let seconds = text.split(['.', ' ', '\n']).next().and_then(|seconds| seconds.parse().ok());
    seconds
        .ok_or_else(|| io::Error::other(format!("\"{}\" does not begin with seconds", text.trim())))
}

fn not_written(error: io::Error) -> Failure {
    Failure::from_io(FailureKind::Internal, "the rescue's file can't be written", error)
}

/// What can't be read passes for the program on trial: no error of the disk must keep it from its
/// deadline. Whether the old one is there to be put back, the component proves.
fn at_path(program: &Program, trial: &Trial) -> Option<ProgramDigest> {
    let found = program.known_digest();
    let found = found.map(|found| program.counts_as(found, trial.on_trial, trial.old));
    found.unwrap_or_else(|error| {
        let failure =
            Failure::from_io(FailureKind::Internal, "the program on trial can't be read", error);
        tracing::warn!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
        Some(trial.on_trial)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Restart;
    use crate::record::trial::tests::trial;

    #[test]
    fn a_ruling_is_that_of_its_upgrade() {
        let directory = tempfile::tempdir().unwrap();
        let read = |id: &str| read_ruling(directory.path(), &UpgradeId(id.into()));
        let file = RescueFile::begin(trial(Restart::Reboot), "boot".into(), 1, 1);
        file.write(&LocalDisk, directory.path()).unwrap();
        assert_eq!(read("one"), None);
        let failure = Failure::new(FailureKind::Unhealthy, "it failed");
        file.concluded(failure.clone(), None).write(&LocalDisk, directory.path()).unwrap();
        assert_eq!(read("one").unwrap().verdict.failure, failure);
        assert_eq!(read("another"), None);
    }
}
