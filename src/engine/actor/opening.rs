//! What a daemon that starts does before it answers: opens what it owns, and goes on where the last
//! one stopped.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Actor, COMMAND_QUEUE, concluded};
use crate::config::Config;
use crate::disk::{Disk, LocalDisk};
use crate::engine::blocking::{blocking, off_thread};
use crate::engine::news::{installed, link_before_it_speaks};
use crate::engine::{Deadline, Engine, storage};
use crate::journal::Journal;
use crate::log::message;
use crate::machine::{Found, State, Terms};
use crate::model::{Failure, FailureKind, Phase, SCHEMA, Status};
use crate::rescue::{self, SecondCopy};
use crate::stage::Stage;
use crate::target::program::Program;
use crate::unit;

impl Actor {
    /// Opens journal, stage and target of a configuration, and resumes what the last daemon left,
    /// so that the first status that anybody sees is a true one.
    pub async fn open(config: Arc<Config>) -> anyhow::Result<(Self, Engine)> {
        Self::open_on(Arc::new(LocalDisk), config).await
    }

    /// [`Actor::open`] on a disk of the caller's.
    pub(crate) async fn open_on(
        disk: Arc<dyn Disk>,
        config: Arc<Config>,
    ) -> anyhow::Result<(Self, Engine)> {
        let program = Program::on(Arc::clone(&disk), &config.program.path);
        let (mut journal, damaged) = {
            let (disk, directory) = (Arc::clone(&disk), config.paths.state.clone());
            let opened = blocking(move || Journal::open_on(disk, &directory)).await;
            opened.with_context(|| {
                format!("the state directory {} can't be used", config.paths.state.display())
            })?
        };
        let foreign = "the trial of another version of the daemon can't be read; `uplift-rescue` ends it at its deadline";
        let foreign = journal.has_foreign_trial().then(|| foreign.to_owned());
        let recovered = journal.recovered().map(str::to_owned);
        let forgotten =
            (journal.is_new() && program.was_replaced()).then(|| note_gap(&mut journal));
        let notices: Vec<String> = damaged
            .iter()
            .map(ToString::to_string)
            .chain(foreign)
            .chain(recovered)
            .chain(forgotten)
            .collect();
        for notice in &notices {
            tracing::warn!(MESSAGE_ID = message::STATE_DAMAGED, UPLIFT_KIND = %FailureKind::Internal, "{notice}");
        }
        let examined = {
            let (program, config) = (program.clone(), Arc::clone(&config));
            blocking(move || program.examine().and_then(|()| storage::examine(&config))).await
        };
        let installed = installed(&config.program, &program, &journal).await;
        let status = Status {
            schema: SCHEMA,
            phase: Phase::Idle,
            installed,
            upgrade: None,
            unacknowledged: journal.unacknowledged().to_vec(),
            last: journal.history().last().cloned(),
            link: link_before_it_speaks(&config),
            notices,
            known_bad: journal.known_bad().to_vec(),
            minimum_version: journal.minimum_version(),
        };
        let (status, watcher) = watch::channel(status);
        let (sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let (events, finished) = mpsc::channel(COMMAND_QUEUE);
        let mut actor = Self {
            state: State::Idle,
            second_copy: SecondCopy::new(Arc::clone(&disk), config.paths.state.clone()),
            stage: Stage::on(disk, &config.program.path, config.package.max_size.0),
            config,
            journal,
            program,
            commands,
            events,
            finished,
            status: Arc::new(status),
            phase_began: Instant::now(),
            deadline: Deadline::default(),
            reception: Arc::default(),
            received_bytes: Arc::default(),
            link_errors: 0,
            staged: None,
            checked: None,
            trial: None,
            held: None,
            check_answer: None,
            is_awaited: true,
        };
        if let Err(failure) = examined {
            // Told now, so that nobody sends a file for nothing. Whoever puts it right starts the
            // daemon again.
            actor.notice(&failure);
        }
        actor.resume().await.context("an upgrade is under way, and its state is not known")?;
        let deadline = Arc::clone(&actor.deadline);
        Ok((actor, Engine { commands: sender, status: watcher, deadline }))
    }

    async fn resume(&mut self) -> Result<(), Failure> {
        let recorded = self.journal.upgrade().cloned();
        if recorded.is_none() && !self.journal.has_foreign_trial() {
            self.settle_program().await;
        }
        let state = match (recorded, self.journal.unacknowledged().last()) {
            (Some(state), _) => state,
            (None, Some(report)) => concluded(report),
            (None, None) => State::Idle,
        };
        let from = state.phase();
        let (mut state, actions) = match self.find(&state).await {
            Ok(found) => state.resume(&found),
            // An upgrade about which nothing can be proved now stays in the journal: systemd starts
            // the daemon again.
            Err(failure) if self.journal.upgrade().is_some() => return Err(failure),
            Err(failure) => {
                self.notice(&failure);
                return Ok(());
            }
        };
        let now = state.phase();
        if let State::Reverting { swap, verdict, .. } = &mut state
            && let (Phase::Trial, Some(unit), true) =
                (from, &swap.terms.unit, verdict.program_log.is_empty())
        {
            // Its boots are used up; what it had to say, it said in those.
            verdict.program_log = unit::last_lines(unit, swap.terms.start_before.as_deref()).await;
        }
        self.state = state.clone();
        self.speak_of_upgrade();
        if from != Phase::Idle {
            tracing::info!(
                MESSAGE_ID = message::RESUMED,
                "resuming an upgrade that was {from}: now {now}"
            );
        }
        self.enter(state, actions).await;
        Ok(())
    }

    async fn settle_program(&self) {
        let program = self.program.clone();
        if let Err(error) = blocking(move || program.settle()).await {
            self.notice(&Failure::from_io(
                FailureKind::InstallFailed,
                "the staging area can't be put in order",
                error,
            ));
        }
        let (second_copy, program) = (self.second_copy.clone(), self.program.clone());
        if let Err(failure) = blocking(move || second_copy.settle(&program)).await {
            tracing::warn!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    /// What is found by the terms of the upgrade that was left, or else by the configuration.
    async fn find(&self, left: &State) -> Result<Found, Failure> {
        let terms = left.swap().map_or_else(
            || Terms::new(&self.config.program, &self.config.trial),
            |swap| swap.terms.clone(),
        );
        let origin = self.restarter_of(&terms).found().await?;
        let program = self.program_of(&terms);
        let is_no_file = std::fs::metadata(program.path()).is_ok_and(|there| !there.is_file());
        let at_path = match is_no_file {
            true => None,
            false => blocking(move || program.known_digest()).await.unwrap_or_else(|error| {
                self.notice(&Failure::from_io(
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
        Ok(Found { origin, at_path, ruling })
    }
}

/// Says that the state was lost before anything else was: the history too.
fn note_gap(journal: &mut Journal) -> String {
    let notice = "programs were replaced here, and the state that knew of it is gone: only the program itself can tell its version";
    match journal.note_gap() {
        Ok(()) => notice.to_owned(),
        Err(error) => format!("{notice}; nor can the state be written: {error}"),
    }
}
