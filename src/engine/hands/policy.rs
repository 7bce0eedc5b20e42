//! The hands' questions to the policy, where an answer may take its time: whether an upgrade may
//! begin, be installed, restart the machine. And what was put off: it is kept, and checked again.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, sleep_until};

use super::{Hands, TaskResult};
use crate::engine::blocking::{blocking, off_thread};
use crate::machine::{Event, State};
use crate::model::{
    Deferral, Failure, FailureKind, Origin, PackageSummary, Request, Upgrade, UpgradeId,
};
use crate::package::check::{Checked, Rules, check};
use crate::policy::{Answer, Gatekeeper, Later, Moment};
use crate::stage::Stage;
use crate::trial::restart::Restarter;

/// Between two looks whether the machine may restart: nobody tells here of a hold that is released.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Hands {
    /// Asks whether this may begin.
    pub(in crate::engine) fn ask_to_begin(
        &self,
        request: Request,
        answer: crate::engine::Answer<UpgradeId>,
    ) {
        let policy = Arc::clone(&self.policy);
        // There is no upgrade yet.
        self.spawn(UpgradeId(String::new()), async move {
            let said = ask(policy, Moment::Begin, request.forced).await;
            TaskResult::Asked(said, request, answer)
        });
    }

    /// Keeps the checked file over restarts: its name in the staging area.
    pub(in crate::engine) async fn put_off(&mut self) -> Result<String, Failure> {
        let checked = self.checked.take();
        let checked = checked.ok_or_else(|| {
            Failure::new(FailureKind::Internal, "there is no file that could be put off")
        })?;
        blocking(move || checked.put_off()).await
    }

    /// Puts what was checked again away: it stays where it is kept.
    pub(in crate::engine) fn put_off_again(&mut self) {
        self.checked = None;
    }

    /// Whether the file of an upgrade that was put off still lies where it was kept.
    pub(super) fn has_kept(&self, left: &State) -> bool {
        let State::Deferred { upgrade, package, deferral } = left else { return false };
        let place = self.component(upgrade.component());
        place.is_ok_and(|(_, place)| place.stage.has_kept(&deferral.staged, package.size))
    }

    /// Looks whether an upgrade that was put off may be installed now, and if so, checks its file
    /// once more.
    pub(in crate::engine) fn look_again(
        &self,
        upgrade: &Upgrade,
        package: &PackageSummary,
        deferral: &Deferral,
        rules: Rules,
    ) {
        let (policy, forced) = (Arc::clone(&self.policy), upgrade.request.forced);
        let stage = self.component(upgrade.component()).map(|(_, place)| place.stage.clone());
        let (package, deferral) = (package.clone(), deferral.clone());
        self.spawn(upgrade.id.clone(), async move {
            let stage = match stage {
                Ok(stage) => stage,
                Err(failure) => return TaskResult::Event(Event::Fail(failure)),
            };
            if policy.now().is_ok_and(|now| deferral.ends.left(&now).is_zero()) {
                return TaskResult::Event(Event::Fail(waited_too_long(&deferral)));
            }
            match ask(policy, Moment::Install, forced).await {
                Answer::Later(later) => TaskResult::PutOff(later, None),
                Answer::No(failure) => TaskResult::Event(Event::Fail(failure)),
                Answer::Now => TaskResult::Rechecked(
                    blocking(move || recheck(&stage, &package, &deferral, &rules)).await,
                ),
            }
        });
    }

    /// [`Hands::find_old`] where nobody waits for the start.
    pub(in crate::engine) fn find_old_unasked(&self, upgrade: &Upgrade) {
        self.find_old(upgrade, oneshot::channel().0);
    }
}

/// The file of an upgrade that was put off, proved once more: keys, versions and programs that
/// failed may be others by now, and so may the file.
fn recheck(
    stage: &Stage,
    package: &PackageSummary,
    deferral: &Deferral,
    rules: &Rules,
) -> Result<Checked, Failure> {
    let staged = stage.reopen(&deferral.staged, package.file_name.clone())?;
    if staged.digests.file != package.file_digest {
        let sentence = "the file of the upgrade that was put off is not the one that was received";
        return Err(Failure::new(FailureKind::DigestMismatch, sentence));
    }
    check(staged, rules)
}

fn waited_too_long(deferral: &Deferral) -> Failure {
    let sentence =
        format!("the upgrade was put off, and waited as long as it may: {}", deferral.why);
    Failure::new(FailureKind::NotNow, sentence).with_hint(
        "start the upgrade again; `longest_wait` in the [policy] section says how long one waits",
    )
}

/// What was found before an installation, if that may take place: the last question before the
/// intent is written down.
pub(super) async fn allowed(
    found: Result<Event, Failure>,
    policy: Arc<Gatekeeper>,
    request: &Request,
    answer: crate::engine::Answer<()>,
) -> TaskResult {
    let start = match found {
        Ok(start) => start,
        Err(failure) => return TaskResult::Found(Err(failure), answer),
    };
    match ask(policy, Moment::Install, request.forced).await {
        Answer::Now => TaskResult::Found(Ok(start), answer),
        Answer::Later(later) if request.waits => TaskResult::PutOff(later, Some(answer)),
        Answer::Later(later) => TaskResult::Found(Err(later.into()), answer),
        Answer::No(failure) => TaskResult::Found(Err(failure), answer),
    }
}

/// Asks off the runtime's thread.
async fn ask(policy: Arc<Gatekeeper>, moment: Moment, forced: bool) -> Answer {
    if !policy.is_to_be_asked() {
        return Answer::Now;
    }
    match off_thread(move || policy.ask(moment, forced)).await {
        Ok(answer) => answer,
        Err(died) => Answer::No(died.into()),
    }
}

/// Which way a restart leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Way {
    /// To what was installed; how often that was asked for, this time included.
    There { requests: u32 },
    /// To what was there before.
    Back,
}

/// Asks for a restart and waits for its evidence. One that takes the machine down waits until the
/// policy, if that is to be asked, allows it, for half of its time at most: the other half is its own.
/// The way back asks nobody.
pub(super) async fn restart(
    restarter: Restarter,
    before: &Origin,
    way: Way,
    policy: Option<Arc<Gatekeeper>>,
) -> Event {
    let restarted = match (way, policy) {
        (Way::Back, _) => restarter.restart_back(before).await,
        (Way::There { requests }, Some(policy)) if restarter.takes_machine_down() => {
            match wait_until_allowed(&policy, restarter.deadline() / 2).await {
                Ok(waited) => restarter.after(waited).restart(before).await,
                Err(failure) => Err(of_restart(failure, &restarter, requests)),
            }
        }
        (Way::There { .. }, _) => restarter.restart(before).await,
    };
    restarted.map_or_else(Event::RestartFailed, Event::Restarted)
}

async fn wait_until_allowed(policy: &Arc<Gatekeeper>, most: Duration) -> Result<Duration, Failure> {
    let began = Instant::now();
    loop {
        match ask(Arc::clone(policy), Moment::Restart, false).await {
            Answer::Now => return Ok(began.elapsed()),
            Answer::No(failure) => return Err(failure),
            Answer::Later(later) if began.elapsed() >= most => return Err(too_late(&later)),
            Answer::Later(_) => sleep_until((Instant::now() + LOOK_AGAIN).min(began + most)).await,
        }
    }
}

fn too_late(later: &Later) -> Failure {
    let sentence = format!("the machine might not restart in time: {}", later.why);
    Failure::new(FailureKind::NotNow, sentence)
}

/// `not-now` says that the old program was left alone. Where an earlier daemon may have asked for a
/// restart by a command, of which nobody knows what it does, that is not certain.
fn of_restart(failure: Failure, restarter: &Restarter, requests: u32) -> Failure {
    let is_certain = requests == 1 || restarter.leaves_evidence();
    let kind = if is_certain { failure.kind } else { FailureKind::RestartFailed };
    Failure { kind, ..failure }
}
