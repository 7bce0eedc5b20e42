//! What a person decides by hand: that the program on trial works, or that it goes; and that the
//! program before the last upgrade comes back.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::Answer;
use super::actor::{Actor, TaskResult};
use super::blocking::blocking;
use crate::config::Confirm;
use crate::journal::InstalledRecord;
use crate::log::message;
use crate::machine::{Event, State, Swap, Upgrade};
use crate::model::{
    Failure, FailureKind, Outcome, PackageSummary, Phase, Report, Request, UpgradeId,
};
use crate::package::digest::{Digests, ProgramDigest};
use crate::package::hashing::hash_file;
use crate::package::version::Version;
use crate::restart::{self, Restarter};
use crate::target::program::Program;

impl Actor {
    /// Written down before it counts, so that a daemon that starts again knows it.
    pub(super) async fn confirm(&mut self, by: String) -> Result<(), Failure> {
        let State::Trial { swap, confirmed_by, .. } = &self.state else {
            return Err(nothing_on_trial());
        };
        if swap.terms.confirm == Confirm::Auto {
            return Err(no_confirmation_needed());
        }
        if confirmed_by.is_some() {
            return Ok(());
        }
        let (confirmed, _) =
            self.state.clone().step(Event::Confirm(by)).map_err(|refused| refused.failure)?;
        let written = confirmed.clone();
        self.write_journal("the confirmation", move |journal| journal.record(&written)).await?;
        self.state = confirmed;
        if let Some(trial) = &self.trial {
            trial.confirmed.send_replace(true);
        }
        Ok(())
    }

    /// Written down before it counts.
    pub(super) async fn forget_minimum(&mut self, by: String) -> Result<Option<Version>, Failure> {
        let Some(version) = self.journal.minimum_version() else { return Ok(None) };
        let who = by.clone();
        self.write_journal("that the lowest version is forgotten", move |journal| {
            journal.forget_minimum(by).map(drop)
        })
        .await?;
        tracing::warn!(
            MESSAGE_ID = message::MINIMUM_FORGOTTEN,
            "the lowest version, {version}, was forgotten by {who}"
        );
        self.status.send_modify(|status| status.minimum_version = None);
        Ok(Some(version))
    }

    pub(super) async fn roll_back(&mut self, request: Request, answer: Answer<UpgradeId>) {
        match &self.state {
            State::Trial { upgrade, .. } => {
                let id = upgrade.id.clone();
                let ended = self.apply(Event::RollBack(by_hand(&request))).await;
                let _ = answer.send(ended.map(|()| id));
            }
            State::Idle | State::Concluded { .. } => self.spawn_way_back(request, answer),
            state => {
                let _ = answer.send(Err(not_now(state.phase())));
            }
        }
    }

    /// Looks at what would go and what would come back, which takes seconds for a large program.
    fn spawn_way_back(&self, request: Request, answer: Answer<UpgradeId>) {
        let upgrade = match self.new_upgrade(request) {
            Ok(upgrade) => upgrade,
            Err(failure) => return drop(answer.send(Err(failure))),
        };
        let (program, config) = (self.program.clone(), Arc::clone(&self.config));
        let (installed, product) = (self.journal.installed(), self.config.program.product.clone());
        // As when a trial fails: the upgrade from the one to the other is what is taken back.
        let upgrade = Upgrade {
            from: installed.and_then(|installed| self.replaced_by(installed)),
            ..upgrade
        };
        self.spawn_task_of(upgrade.id.clone(), async move {
            let found = async {
                let (package, old) =
                    blocking(move || find_way_back(&program, installed, product)).await?;
                let terms = restart::agree(&config).await?;
                let origin = Restarter::new(&terms, &config.paths).origin().await?;
                let swap = Box::new(Swap { package, old: Some(old), origin, terms });
                let failure = by_hand(&upgrade.request);
                Ok(Event::GoBack { upgrade, swap, failure })
            };
            TaskResult::WayBack(found.await, answer)
        });
    }

    /// The version that this program replaced, by the history.
    fn replaced_by(&self, installed: InstalledRecord) -> Option<Version> {
        let installs = |report: &&Report| {
            report.outcome == Outcome::Succeeded
                && report
                    .package
                    .as_ref()
                    .is_some_and(|package| package.program_digest == installed.digest)
        };
        self.journal.history().iter().rev().find(installs)?.from
    }

    pub(super) async fn go_back(
        &mut self,
        found: Result<Event, Failure>,
        answer: Answer<UpgradeId>,
    ) {
        let begun = match found {
            Ok(event) => self.apply(event).await,
            Err(failure) => Err(failure),
        };
        let id =
            || self.state.upgrade().map(|upgrade| upgrade.id.clone()).ok_or_else(nothing_on_trial);
        let _ = answer.send(begun.and_then(|()| id()));
    }
}

/// What goes, and the digest of what comes back.
fn find_way_back(
    program: &Program,
    installed: Option<InstalledRecord>,
    product: String,
) -> Result<(PackageSummary, ProgramDigest), Failure> {
    let unreadable = |error| {
        Failure::from_io(FailureKind::InstallFailed, "the installed program can't be read", error)
    };
    let at_path = measure(program).map_err(unreadable)?;
    let Some((installed, (size, digests))) =
        installed.zip(at_path).filter(|(installed, (_, found))| installed.digest == found.program)
    else {
        return Err(nothing_to_go_back_to(
            "the program at the path is not one that uplift installed",
        ));
    };
    let previous =
        program.previous().map_err(unreadable)?.filter(|previous| *previous != installed.digest);
    let previous = previous.ok_or_else(|| {
        nothing_to_go_back_to("the program from before the last upgrade was not kept")
    })?;
    let file_name = format!("{product}_{}.bin", installed.version);
    let (version, file_digest, program_digest) = (installed.version, digests.file, digests.program);
    Ok((
        PackageSummary {
            file_name,
            product,
            version,
            size,
            file_digest,
            program_digest,
            trusted_key: None,
        },
        previous,
    ))
}

/// Size and digests of the file at the path, as it was received; `None` if there is none.
fn measure(program: &Program) -> io::Result<Option<(u64, Digests)>> {
    let file = match File::open(program.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let size = file.metadata()?.len();
    Ok(Some((size, hash_file(&file, size, |_| ())?)))
}

fn by_hand(request: &Request) -> Failure {
    Failure::new(FailureKind::Cancelled, format!("rolled back by {}", request.requester))
        .with_hint("this program is refused from now on; `uplift install --force` accepts it again")
}

fn nothing_on_trial() -> Failure {
    Failure::new(FailureKind::Cancelled, "nothing is on trial, so there is nothing to confirm")
        .with_hint(
            "`uplift status` shows what the daemon does, `uplift history` how upgrades ended",
        )
}

fn no_confirmation_needed() -> Failure {
    Failure::new(
        FailureKind::Cancelled,
        "this trial needs no confirmation: `confirm` was \"auto\" when the upgrade began",
    )
    .with_hint("`uplift status --watch` shows what it waits for; `uplift rollback` ends it")
}

fn nothing_to_go_back_to(why: &str) -> Failure {
    Failure::new(FailureKind::InstallFailed, format!("there is nothing to go back to: {why}"))
        .with_hint(
            "install the version that is wanted; `uplift install --force` accepts a lower one",
        )
}

fn not_now(phase: Phase) -> Failure {
    Failure::new(FailureKind::Busy, format!("an upgrade is {phase} and can't be rolled back now"))
        .with_hint(
            "wait until its trial begins, or until it is over; `uplift status --watch` shows it",
        )
}
