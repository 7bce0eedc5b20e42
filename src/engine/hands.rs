//! The hands of the engine: program, staging area and restart, one method a piece of work. Short
//! work is awaited; long work runs as a task that sends its result back, tagged with the upgrade
//! that it is for.
//!
//! They are handed the machine's state, and decide nothing; what is told is the herald's.

mod change;
mod policy;
mod receive;
mod starting;
mod swap;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

pub(super) use self::policy::Way;
use self::policy::{allowed, restart};
pub(super) use self::receive::Seen;
use self::swap::{find_old, hold, install, put_back};
use super::Answer;
use super::blocking::{blocking, off_thread};
use super::herald::Notices;
use super::way_back::{by_hand, find_way_back, way_back_by_updater};
use crate::component::command::Change;
use crate::component::program::{Lock, Program};
use crate::config::{self, Component, Config, Door};
use crate::disk::Disk;
use crate::journal::parts::Parts;
use crate::machine::{Event, Found, State};
use crate::model::{
    self, ChangeTerms, ComponentName, Conclusion, Evidence, Failure, FailureKind, Form, Origin,
    Outcome, PackageSummary, Request, Restart, Swap, Terms, Upgrade, UpgradeId, Verdict,
};
use crate::package::check::{Checked, Rules, check};
use crate::policy::{self as gate, Gatekeeper};
use crate::record::InstalledRecord;
use crate::rescue::{self, SecondCopy};
use crate::stage::{Stage, Staged};
use crate::trial::application::{Applications, farewell};
use crate::trial::health;
use crate::trial::restart::{self, Restarter};

/// What a task brings back, and for which upgrade: the result of one that was given up meanwhile
/// must not become another's.
pub(super) struct Finished {
    pub(super) upgrade: UpgradeId,
    pub(super) result: TaskResult,
}

pub(super) enum TaskResult {
    Checked(Result<Checked, Failure>),
    /// The trial ended well, and nobody can replace the program before that is written down.
    Healthy(Evidence, Lock),
    /// What was found before the way back, and who waits for it.
    WayBack(Result<Event, Failure>, Answer<UpgradeId>),
    /// What was found before the swap, and who waits for the start.
    Found(Result<Event, Failure>, Answer<()>),
    /// Whether this may begin, and who waits for that.
    Asked(gate::Answer, Request, Answer<UpgradeId>),
    /// It may not be installed yet; who waits for the start, if somebody does.
    PutOff(gate::Later, Option<Answer<()>>),
    /// An upgrade that was put off may be installed, if its file still passes.
    Rechecked(Result<Checked, Failure>),
    Event(Event),
}

/// What the engine has in its hands.
pub(super) struct Hands {
    config: Arc<Config>,
    components: BTreeMap<ComponentName, Place>,
    /// What another updater does.
    change: Change,
    policy: Arc<Gatekeeper>,
    second_copy: SecondCopy,
    finished: mpsc::Sender<Finished>,
    notices: Notices,
    /// Who is connected to the bridge.
    applications: Applications,
    /// What is there of a file that is received over restarts.
    parts: Parts,
    staged: Option<Staged>,
    checked: Option<Checked>,
    trial: Option<OnTrial>,
    /// Held until the success of a trial is written down: what a peer was told, the rescue must not
    /// undo.
    held: Option<Lock>,
}

/// Where a component lies, and where files for it are received.
struct Place {
    /// The file that is swapped, where there is one.
    program: Option<Program>,
    stage: Stage,
}

/// The trial that runs.
struct OnTrial {
    /// Becomes true when a person confirms.
    confirmed: watch::Sender<bool>,
    task: AbortHandle,
}

impl Drop for OnTrial {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hands {
    pub(super) fn new(
        disk: &Arc<dyn Disk>,
        config: Arc<Config>,
        mut programs: BTreeMap<ComponentName, Program>,
        policy: Arc<Gatekeeper>,
        notices: Notices,
        applications: Applications,
        finished: mpsc::Sender<Finished>,
    ) -> Self {
        let second_copy = SecondCopy::new(Arc::clone(disk), config.paths.state.clone());
        let place = |component: &Component| {
            let beside = match component {
                Component::Program(program) => program.path.clone(),
                Component::Command(command) => {
                    config.paths.state.join(command.common.name.as_str())
                }
            };
            let stage = Stage::on(Arc::clone(disk), &beside, config.package.max_size.0);
            let name = component.name();
            (name, Place { program: programs.remove(&name), stage })
        };
        let components = config.components.iter().map(place).collect();
        let change = Change::on(Arc::clone(disk), &config.paths.state);
        let parts = Parts::open_on(Arc::clone(disk), &config.paths.state);
        let (staged, checked, trial, held) = (None, None, None, None);
        Self {
            config,
            components,
            change,
            policy,
            second_copy,
            finished,
            notices,
            applications,
            parts,
            staged,
            checked,
            trial,
            held,
        }
    }

    /// The programs that uplift itself swaps, as the configuration names them.
    fn programs(&self) -> impl Iterator<Item = (&config::Program, &Program)> {
        let programs = self.config.components.programs();
        programs.filter_map(|config| Some((config, self.program(config.common.name)?)))
    }

    /// The program of a component, where it is one.
    pub(super) fn program(&self, name: ComponentName) -> Option<&Program> {
        self.components.get(&name)?.program.as_ref()
    }

    /// The component of an upgrade. One that is in the configuration no more has no place.
    fn component(&self, name: ComponentName) -> Result<(&Component, &Place), Failure> {
        let (config, place) = (self.config.components.get(name), self.components.get(&name));
        config.zip(place).ok_or_else(|| unknown(name))
    }

    /// What is found by the terms of the upgrade that was left, or else by the configuration.
    pub(super) async fn find(&self, left: &State) -> Result<Found, Failure> {
        // Without an upgrade beyond its swap nothing hangs on what is found.
        let Some(terms) = left.swap().map(|swap| swap.terms.clone()) else {
            let terms = left.change().map(|change| &change.terms);
            let origin = self.restarter_of_change(terms).found().await?;
            let (staged, part) = (self.has_kept(left), self.has_part(left));
            return Ok(Found { origin, at_path: None, staged, part, ruling: None });
        };
        let origin = self.restarter_of(&terms).found().await?;
        let program = self.program_of(&terms);
        let is_another = std::fs::metadata(program.path()).is_ok_and(|there| match terms.form {
            Form::File => !there.is_file(),
            Form::Tree => !there.is_dir(),
        });
        let upgrade = left.swap().map(|swap| (swap.package.program_digest, swap.old));
        let read = move || {
            let found = program.proved_digest()?;
            Ok(upgrade.map_or(found, |(new, old)| program.counts_as(found, new, old)))
        };
        let at_path = match is_another {
            true => None,
            false => blocking(read).await.unwrap_or_else(|error| {
                self.notices.tell(&Failure::from_io(
                    FailureKind::InstallFailed,
                    "the program can't be read",
                    error,
                ));
                // It is not missing, nor is it the old one, which lies elsewhere: so the trial
                // decides, and it ends badly.
                left.swap().map(|swap| swap.package.program_digest)
            }),
        };
        let ruling = match left.upgrade() {
            Some(upgrade) => {
                let (state, id) = (self.config.paths.state.clone(), upgrade.id.clone());
                off_thread(move || rescue::read_ruling(&state, &id)).await?
            }
            None => None,
        };
        Ok(Found { origin, at_path, staged: false, part: false, ruling })
    }

    /// Takes the file that is to be checked next, or puts it away.
    pub(super) fn take_staged(&mut self, staged: Option<Staged>) {
        self.staged = staged;
    }

    pub(super) fn check(&mut self, upgrade: &UpgradeId, rules: Rules) {
        let Some(staged) = self.staged.take() else { return };
        self.spawn(upgrade.clone(), async move {
            TaskResult::Checked(blocking(move || check(staged, &rules)).await)
        });
    }

    /// Whether there is a file that may be installed.
    pub(super) fn has_checked(&self) -> bool {
        self.checked.is_some()
    }

    /// Takes the file that may be installed.
    pub(super) fn take_checked(&mut self, checked: Checked) {
        self.checked = Some(checked);
    }

    /// Looks at what is to be swapped and restarted: a large program takes seconds to read, and
    /// systemd may take its time.
    pub(super) fn find_old(&self, upgrade: &Upgrade, answer: Answer<()>) {
        let (config, place) = match self.component(upgrade.component()) {
            Ok(component) => component,
            Err(failure) => return drop(answer.send(Err(failure))),
        };
        let paths = self.config.paths.clone();
        let (policy, request) = (Arc::clone(&self.policy), upgrade.request.clone());
        match (config, place.program.clone()) {
            (Component::Program(config), Some(program)) => {
                let config = config.clone();
                self.spawn(upgrade.id.clone(), async move {
                    let found = find_old(program, &config, &paths).await;
                    allowed(found, policy, &request, answer).await
                });
            }
            (Component::Command(config), _) => {
                let terms = Box::new(config.terms());
                let restarter = self.restarter_of_change(Some(&terms));
                self.spawn(upgrade.id.clone(), async move {
                    let origin = restarter.origin().await;
                    let found = origin.map(|origin| Event::StartChange { origin, terms });
                    allowed(found, policy, &request, answer).await
                });
            }
            (Component::Program(config), None) => {
                drop(answer.send(Err(unknown(config.common.name))));
            }
        }
    }

    pub(super) fn swap(&mut self, upgrade: &UpgradeId, swap: &Swap) {
        let Some(checked) = self.checked.take() else { return };
        let (program, old, second_copy) =
            (self.program_of(&swap.terms), swap.old, self.second_copy.clone());
        self.spawn_event(upgrade, async move {
            match off_thread(move || install(&program, old, checked, &second_copy)).await {
                Ok(event) => event,
                Err(died) => Event::SwapFailed(died.into()),
            }
        });
    }

    pub(super) fn restart(&self, upgrade: &Upgrade, swap: &Swap, way: Way) {
        // What was read before a restart proves nothing behind it.
        self.program_of(&swap.terms).forget_reading();
        let (origin, restarter) = (swap.origin.clone(), self.restarter_of(&swap.terms));
        let (copied, armed) = (self.copy_trial(), self.arm_rescue());
        let policy = (!upgrade.request.forced).then(|| Arc::clone(&self.policy));
        let (applications, wait) = (self.applications.clone(), self.farewell(way));
        self.spawn_event(&upgrade.id, async move {
            copied.await;
            armed.await;
            farewell(&applications, wait).await;
            restart(restarter, &origin, way, policy).await
        });
    }

    /// How long the application at the bridge may take to get ready for a restart. Back, it is the
    /// program that did not prove itself, and is not asked.
    fn farewell(&self, way: Way) -> Duration {
        let link = self.config.link.as_ref().filter(|link| link.door == Door::Bridge);
        link.filter(|_| matches!(way, Way::There { requests: 1 }))
            .map_or(Duration::ZERO, |link| link.farewell)
    }

    /// Gathers the evidence; a trial of before is ended.
    pub(super) fn try_program(
        &mut self,
        upgrade: &Upgrade,
        swap: &Swap,
        is_confirmed: bool,
        observer: health::Observer,
    ) {
        let (id, expected) = (upgrade.id.clone(), swap.package.program_digest);
        let (program, state) = (self.program_of(&swap.terms), self.config.paths.state.clone());
        let (confirmed, confirmation) = watch::channel(is_confirmed);
        let trial = health::Trial::new(
            expected,
            program.clone(),
            swap.terms.clone(),
            confirmation,
            observer,
        );
        let config = self.config.components.get(upgrade.component());
        let isolation = config.map(|config| config.common().isolate_commands).unwrap_or_default();
        let trial = trial.with_isolation(isolation).with_applications(self.applications.clone());
        // Again, for the daemon of another boot, where the timer may not be enabled.
        let (copied, armed) = (self.copy_trial(), self.arm_rescue());
        let task = self.spawn(upgrade.id.clone(), async move {
            copied.await;
            armed.await;
            let evidence = match trial.run().await {
                Ok(evidence) => evidence,
                Err(verdict) => {
                    // Where the rescue has rolled back meanwhile, that is what this trial has seen.
                    let ruled =
                        off_thread(move || rescue::read_ruling(&state, &id)).await.ok().flatten();
                    return TaskResult::Event(Event::Unhealthy(
                        ruled.map_or(verdict, |ruled| ruled.verdict),
                    ));
                }
            };
            match off_thread(move || hold(&program, expected, &state, &id)).await {
                Ok(Ok(held)) => TaskResult::Healthy(evidence, held),
                Ok(Err(verdict)) => TaskResult::Event(Event::Unhealthy(verdict)),
                Err(died) => TaskResult::Event(Event::Unhealthy(Failure::from(died).into())),
            }
        });
        self.trial = Some(OnTrial { confirmed, task });
    }

    /// A person says that the program on trial works.
    pub(super) fn confirm_trial(&self) {
        if let Some(trial) = &self.trial {
            trial.confirmed.send_replace(true);
        }
    }

    pub(super) fn end_trial(&mut self) {
        self.trial = None;
    }

    /// Keeps the rescue from the program until [`Hands::release`].
    pub(super) fn hold(&mut self, lock: Lock) {
        self.held = Some(lock);
    }

    pub(super) fn release(&mut self) {
        self.held = None;
    }

    pub(super) fn swap_back(&self, upgrade: &UpgradeId, swap: &Swap, verdict: &Verdict) {
        let (program, on_trial, over_itself) =
            (self.program_of(&swap.terms), swap.package.program_digest, swap.is_over_itself());
        let (why, origin) = (verdict.failure.kind, swap.origin.clone());
        let (restarter, restart, old) =
            (self.restarter_of(&swap.terms), swap.terms.restart.clone(), swap.old);
        // A way back by hand comes long after the trial, for which the timer ran.
        let (copied, armed) = (self.copy_trial(), self.arm_rescue());
        self.spawn_event(upgrade, async move {
            copied.await;
            let reverted =
                blocking(
                    move || {
                        if over_itself { Ok(()) } else { put_back(&program, on_trial, old) }
                    },
                );
            if let (Err(failure), ()) = tokio::join!(reverted, armed) {
                return Event::RevertFailed(failure);
            }
            match restarter.origin().await {
                // It may have been started by somebody else meanwhile, which is no restart that was
                // agreed, but one all the same.
                Ok(now)
                    if why.is_of_restart()
                        && (Origin::was_never_restarted(&origin, &now, &restart)
                            || why == FailureKind::NotNow
                                && Origin::was_left_alone(&origin, &now))
                        && (over_itself || !restarter.runs(on_trial).await) =>
                {
                    Event::Reverted { restart_from: None }
                }
                Ok(now) => Event::Reverted { restart_from: Some(now) },
                Err(failure) => Event::RestartFailed(failure),
            }
        });
    }

    /// Looks at what would go and what would come back, which takes seconds for a large program.
    pub(super) fn find_way_back(
        &self,
        upgrade: Upgrade,
        installed: Option<InstalledRecord>,
        package: Option<PackageSummary>,
        answer: Answer<UpgradeId>,
    ) {
        let (config, place) = match self.component(upgrade.component()) {
            Ok(component) => component,
            Err(failure) => return drop(answer.send(Err(failure))),
        };
        let paths = self.config.paths.clone();
        let (config, program) = match (config, place.program.clone()) {
            (Component::Program(config), Some(program)) => (config.clone(), program),
            (Component::Program(config), None) => {
                return drop(answer.send(Err(unknown(config.common.name))));
            }
            (Component::Command(config), _) => {
                let (terms, failure) = (config.terms(), by_hand(&upgrade.request));
                let id = upgrade.id.clone();
                let restarter = self.restarter_of_change(Some(&terms));
                let found = async move {
                    let package = way_back_by_updater(package, &terms)?;
                    let change = Box::new(model::Change {
                        package,
                        origin: restarter.origin().await?,
                        terms,
                    });
                    Ok(Event::TakeBack { upgrade, change, failure })
                };
                self.spawn(id, async move { TaskResult::WayBack(found.await, answer) });
                return;
            }
        };
        let product = config.common.product.clone();
        self.spawn(upgrade.id.clone(), async move {
            let found = async {
                let (package, old) =
                    blocking(move || find_way_back(&program, installed, product)).await?;
                let terms = restart::agree(&config).await?;
                let origin = Restarter::new(&terms, &paths).origin().await?;
                let swap = Box::new(Swap { package, old: Some(old), origin, terms });
                let failure = by_hand(&upgrade.request);
                Ok(Event::GoBack { upgrade, swap, failure })
            };
            TaskResult::WayBack(found.await, answer)
        });
    }

    /// Puts the staging area in order behind an upgrade that came to nothing or was rolled back, as
    /// long as the journal holds it: a power cut, or whoever rolled it back, may have left that
    /// undone.
    pub(super) async fn finish_swap(&self, component: ComponentName, conclusion: &Conclusion) {
        let ran = match conclusion.outcome {
            Outcome::Succeeded => return,
            Outcome::Failed => false,
            Outcome::RolledBack => true,
        };
        let Some(package) = conclusion.package.clone() else { return };
        let Some(program) = self.program(component).cloned() else { return };
        if let Err(failure) = blocking(move || program.finish(&package, ran)).await {
            tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    /// What nothing leads back to any more, now that the success is written down.
    pub(super) async fn forget_older(&self, component: ComponentName) {
        let Some(program) = self.program(component).cloned() else { return };
        if let Err(error) = blocking(move || program.forget_older()).await {
            let failure = Failure::from_io(
                FailureKind::Internal,
                "the program of two upgrades ago can't be removed",
                error,
            );
            tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    /// The second copy of the trial, which is over now. Where that fails, the rescue's next call
    /// does it, or the next daemon.
    pub(super) async fn forget_second_copy(&self) {
        let second_copy = self.second_copy.clone();
        if let Err(failure) = blocking(move || second_copy.forget()).await {
            tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    /// Where there is no second copy of the trial yet it is made: a way back by hand had no swap,
    /// and the daemon that swapped may have been of an earlier version. Without it things go on:
    /// the state file tells of the trial.
    fn copy_trial(&self) -> impl Future<Output = ()> + Send + 'static {
        let (second_copy, notices) = (self.second_copy.clone(), self.notices.clone());
        async move {
            if let Err(failure) = blocking(move || second_copy.make()).await {
                notices.tell(&failure);
            }
        }
    }

    /// Starts the timer of the second deadline, which watches the way back too; one that runs
    /// already runs on. Without it the upgrade goes on: a payload without systemd has the first
    /// deadline still.
    fn arm_rescue(&self) -> impl Future<Output = ()> + Send + 'static {
        let (timer, notices) = (self.config.paths.rescue_timer.clone(), self.notices.clone());
        async move {
            let Some(timer) = timer else { return };
            if let Err(failure) = rescue::arm(&timer).await {
                let sentence = "the second deadline of the trial is not armed";
                notices.tell(&Failure::new(failure.kind, sentence).because(failure));
            }
        }
    }

    /// The restart of an upgrade under way is the one that was agreed, whatever the configuration
    /// says by now.
    fn restarter_of(&self, terms: &Terms) -> Restarter {
        Restarter::new(terms, &self.config.paths)
    }

    /// That of a change by another updater; without one, of the machine.
    pub(super) fn restarter_of_change(&self, terms: Option<&ChangeTerms>) -> Restarter {
        let how = terms.and_then(|terms| terms.restart.clone()).unwrap_or(Restart::Reboot);
        let deadline = terms.map(|terms| terms.restart_deadline).unwrap_or_default();
        Restarter::by(how, None, deadline, self.config.paths.boot_id.clone())
    }

    /// So is its program.
    fn program_of(&self, terms: &Terms) -> Program {
        let is_it =
            |program: &Program| program.path() == terms.program && program.form() == terms.form;
        let known = self.programs().find(|(_, program)| is_it(program));
        known.map_or_else(
            || Program::new(&terms.program).in_form(terms.form),
            |(_, program)| program.clone(),
        )
    }

    fn spawn_event(&self, upgrade: &UpgradeId, work: impl Future<Output = Event> + Send + 'static) {
        self.spawn(upgrade.clone(), async move { TaskResult::Event(work.await) });
    }

    fn spawn(
        &self,
        upgrade: UpgradeId,
        work: impl Future<Output = TaskResult> + Send + 'static,
    ) -> AbortHandle {
        self.spawn_work(upgrade, Box::pin(work))
    }

    /// In one kind of task for all work: the runtime's code for a kind, and the stack on which one
    /// is made, are kilobytes of an idle daemon's memory.
    fn spawn_work(
        &self,
        upgrade: UpgradeId,
        work: Pin<Box<dyn Future<Output = TaskResult> + Send>>,
    ) -> AbortHandle {
        let finished = self.finished.clone();
        let task = tokio::spawn(async move {
            // The engine is gone only when the daemon stops.
            let _ = finished.send(Finished { upgrade, result: work.await }).await;
        });
        task.abort_handle()
    }
}

/// Of an upgrade that was left by a daemon with another configuration.
pub(super) fn unknown(component: ComponentName) -> Failure {
    let sentence = format!("the configuration has no component {component}");
    Failure::new(FailureKind::InstallFailed, sentence)
}
