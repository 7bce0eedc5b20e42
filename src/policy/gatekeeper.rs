//! Gathers what the policy is asked about, and keeps the hold.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::{Answer, Facts, Moment, ask, clock};
use crate::config::{Component, Config, Policy};
use crate::disk::{self, Disk};
use crate::host::command::{self, CommandError, Reach};
use crate::journal;
use crate::model::{
    Countdown, Failure, FailureKind, HoldStatus, PolicyStatus, Uptime, WindowStatus,
};
use crate::record::hold::{HOLD_FILE, Hold};
use crate::trial::restart::boot_id;

/// How much of a reason is kept, in characters.
const LONGEST_REASON: usize = 200;
/// Knows whether an upgrade may begin.
#[derive(Debug)]
pub struct Gatekeeper {
    policy: Policy,
    /// Where the state lies.
    state: PathBuf,
    /// Directories on the file systems that must have room.
    places: Vec<PathBuf>,
    boot_id: PathBuf,
    disk: Arc<dyn Disk>,
    hold: Mutex<Option<Hold>>,
    /// Whether somebody has said that the clock is right; once it is, it is so until the next boot.
    clock_trusted: AtomicBool,
}

impl Gatekeeper {
    /// How long a countdown goes on before it is written down again: so much of it, at most, a reboot
    /// gives back.
    pub(crate) const RENEWAL: Duration = Duration::from_secs(10 * 60);

    /// By this configuration, with the hold that there is.
    pub(crate) fn open(disk: Arc<dyn Disk>, config: &Config) -> Self {
        let of_component =
            |component: &Component| Some(component.program()?.path.parent()?.to_owned());
        let places = config.components.iter().filter_map(of_component);
        Self {
            policy: config.policy.clone(),
            state: config.paths.state.clone(),
            places: places.chain([config.paths.state.clone()]).collect(),
            boot_id: config.paths.boot_id.clone(),
            disk,
            hold: Mutex::new(Hold::read(&config.paths.state)),
            clock_trusted: AtomicBool::new(false),
        }
    }

    /// Removes what a daemon left that was killed while it wrote.
    pub(crate) fn tidy(&self) {
        // It harms nobody but by its size, and the next start tries again.
        let unfinished = self.state.join(disk::unfinished(HOLD_FILE));
        let _ = disk::remove_if_present(&*self.disk, &unfinished);
    }

    /// Whether there is anything to ask.
    pub fn is_to_be_asked(&self) -> bool {
        self.policy.asks() || self.current().is_some()
    }

    /// Asks. Blocks: the payload is asked by its command, where nothing else says no already.
    pub fn ask(&self, moment: Moment, forced: bool) -> Answer {
        let facts = Facts {
            forced,
            hold: self.held(),
            time: if self.policy.window_utc.is_empty() { None } else { self.time() },
            ready: None,
            free: self.free(),
        };
        match (ask(&self.policy, moment, &facts), forced) {
            (Answer::Now, false) => {
                ask(&self.policy, moment, &Facts { ready: self.readiness(), ..facts })
            }
            (answer, _) => answer,
        }
    }

    /// Holds upgrades, instead of whoever did before. Blocks.
    pub fn hold(
        &self,
        by: String,
        reason: Option<String>,
        time: Option<Duration>,
    ) -> Result<HoldStatus, Failure> {
        let ends = match time {
            Some(time) => Some(Countdown::begin(time, &self.now()?)),
            None => None,
        };
        let reason = reason.map(|reason| reason.chars().take(LONGEST_REASON).collect());
        let hold = Hold::new(by, reason, journal::stamp(), ends);
        hold.write(&*self.disk, &self.state)
            .map_err(|error| unwritten("the hold can't be written down", error))?;
        *self.lock() = Some(hold.clone());
        Ok(self.status_of(&hold))
    }

    /// Ends the hold; what it was. Blocks.
    pub fn release(&self) -> Result<Option<HoldStatus>, Failure> {
        let held = self.held();
        if self.lock().is_none() {
            return Ok(None);
        }
        Hold::remove(&*self.disk, &self.state)
            .map_err(|error| unwritten("the hold can't be removed", error))?;
        *self.lock() = None;
        Ok(held)
    }

    /// Ends a hold whose time is over, and writes down what is left of one that goes on. Whether it
    /// has ended. Blocks.
    pub fn renew(&self) -> Result<bool, Failure> {
        let (Some(hold), Ok(now)) = (self.lock().clone(), self.now()) else { return Ok(false) };
        let Some(ends) = &hold.ends else { return Ok(false) };
        if ends.left(&now).is_zero() {
            return self.release().map(|_| true);
        }
        if ends.is_older_than(Self::RENEWAL, &now) {
            let hold = Hold { ends: Some(ends.renewed(&now)), ..hold };
            hold.write(&*self.disk, &self.state).map_err(|error| {
                unwritten("what is left of the hold can't be written down", error)
            })?;
            *self.lock() = Some(hold);
        }
        Ok(false)
    }

    /// When [`Gatekeeper::renew`] has something to do.
    pub fn renew_in(&self) -> Option<Duration> {
        let ends = self.lock().as_ref()?.ends.clone()?;
        match self.now().map(|now| ends.left(&now)) {
            Ok(left) if !left.is_zero() => Some(Self::RENEWAL.min(Countdown::past(left))),
            // It is none any more, and its file could not be removed.
            _ => Some(Self::RENEWAL),
        }
    }

    /// What everybody is told.
    pub fn status(&self) -> PolicyStatus {
        let windows = &self.policy.window_utc;
        let clock_trusted = self.trusts_clock();
        let time = clock::time_of_day().filter(|_| clock_trusted);
        let is_open = |time| windows.iter().any(|window| window.opens_in(time).is_zero());
        let window = (!windows.is_empty()).then(|| WindowStatus {
            utc: windows.iter().map(ToString::to_string).collect(),
            open: time.is_some_and(is_open),
            clock_trusted,
        });
        PolicyStatus { hold: self.held(), window }
    }

    /// Has systemd say whether the clock was set, where that matters and is not known. Blocks.
    pub fn look_at_clock(&self) {
        if !self.policy.window_utc.is_empty() && !self.trusts_clock() {
            let trusted = clock::is_synchronized(&self.policy);
            self.clock_trusted.store(trusted, Ordering::Relaxed);
        }
    }

    /// How long an upgrade waits that was put off, from now on.
    pub(crate) fn longest_wait(&self) -> Result<Countdown, Failure> {
        Ok(Countdown::begin(self.policy.longest_wait, &self.now()?))
    }

    /// This moment.
    pub(crate) fn now(&self) -> Result<Uptime, Failure> {
        let unknown = |error: std::io::Error| {
            Failure::from_io(FailureKind::Internal, "the time since the boot can't be told", error)
        };
        let boot_id = boot_id(&self.boot_id).map_err(unknown)?;
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME);
        let since_boot = since_boot.map_err(|error| unknown(error.into()))?;
        Ok(Uptime { boot_id, since_boot: since_boot.into() })
    }

    fn trusts_clock(&self) -> bool {
        self.clock_trusted.load(Ordering::Relaxed) || clock::is_marked(&self.policy)
    }

    fn time(&self) -> Option<Duration> {
        self.look_at_clock();
        clock::time_of_day().filter(|_| self.trusts_clock())
    }

    /// Bytes that are free where the least are, if those are too few.
    pub(crate) fn free(&self) -> Option<u64> {
        let wanted = self.policy.min_free_space.0;
        // What can't be asked can't be written either, and whoever tries says so.
        let free = |place: &PathBuf| disk::shortage(existing(place), wanted).ok().flatten();
        self.places.iter().filter_map(free).min()
    }

    fn readiness(&self) -> Option<Result<(), String>> {
        let (program, arguments) = self.policy.ready_command.as_ref()?.split_first()?;
        let (isolation, deadline) = (self.policy.isolate_commands, self.policy.ready_deadline);
        let answer = command::run(program.as_ref(), arguments, Reach::Machine, isolation, deadline);
        Some(answer.map(drop).map_err(|error| match error {
            CommandError::Ended { how, output } => {
                match output.lines().find(|line| !line.trim().is_empty()) {
                    Some(line) => command::quoted(line),
                    None => format!("`{program}` ended {how}"),
                }
            }
            error => format!("`{program}`: {error}"),
        }))
    }

    fn held(&self) -> Option<HoldStatus> {
        self.current().map(|hold| self.status_of(&hold))
    }

    /// The hold, unless its time is over.
    fn current(&self) -> Option<Hold> {
        let hold = self.lock().clone()?;
        match (&hold.ends, self.now()) {
            (Some(ends), Ok(now)) if ends.left(&now).is_zero() => None,
            _ => Some(hold),
        }
    }

    fn status_of(&self, hold: &Hold) -> HoldStatus {
        let left = |ends: &Countdown| Some(ends.left(&self.now().ok()?).as_secs());
        HoldStatus {
            by: hold.by.clone(),
            reason: hold.reason.clone(),
            began: hold.began.clone(),
            seconds_left: hold.ends.as_ref().and_then(left),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Hold>> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directory, or the nearest above it that is there.
fn existing(directory: &Path) -> &Path {
    directory.ancestors().find(|directory| directory.exists()).unwrap_or(Path::new("/"))
}

fn unwritten(sentence: &str, error: std::io::Error) -> Failure {
    Failure::from_io(FailureKind::Internal, sentence, error)
}
