//! What a daemon that starts does before it answers: opens what it owns, and goes on where the last
//! one stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};

use super::first_look::FirstLook;
use super::held::Looks;
use super::reports::concluded;
use super::{Actor, COMMAND_QUEUE};
use crate::component::program::Program;
use crate::config::Config;
use crate::disk::{Disk, LocalDisk};
use crate::engine::Engine;
use crate::engine::blocking::blocking;
use crate::engine::hands::Hands;
use crate::engine::herald::{Herald, speak_of};
use crate::engine::installed::not_looked_at;
use crate::host::unit;
use crate::journal::Journal;
use crate::log::message;
use crate::machine::State;
use crate::model::{ComponentName, Failure, FailureKind, Phase};
use crate::package::choice::LastHashed;
use crate::policy::Gatekeeper;

impl Actor {
    /// Opens journal, stage and target of a configuration, and resumes what the last daemon left,
    /// so that the first status that anybody sees is a true one. What is installed is looked at
    /// meanwhile, unless an upgrade is under way ([`Engine::looked`]).
    pub async fn open(config: Arc<Config>) -> anyhow::Result<(Self, Engine)> {
        Self::open_on(Arc::new(LocalDisk), config).await
    }

    /// [`Actor::open`] on a disk of the caller's.
    pub(crate) async fn open_on(
        disk: Arc<dyn Disk>,
        config: Arc<Config>,
    ) -> anyhow::Result<(Self, Engine)> {
        let (mut journal, damaged) = {
            let (disk, directory) = (Arc::clone(&disk), config.paths.state.clone());
            let opened = blocking(move || Journal::open_on(disk, &directory)).await;
            opened.with_context(|| {
                format!("the state directory {} can't be used", config.paths.state.display())
            })?
        };
        let programs: BTreeMap<ComponentName, Program> = config
            .components
            .programs()
            .map(|program| {
                let at_path = Program::on(Arc::clone(&disk), &program.path);
                (program.common.name, at_path.in_form(program.form))
            })
            .collect();
        let foreign = "the trial of another version of the daemon can't be read; `uplift-rescue` ends it at its deadline";
        let foreign = journal.has_foreign_trial().then(|| foreign.to_owned());
        let recovered = journal.recovered().map(str::to_owned);
        let forgotten = (journal.is_new() && programs.values().any(Program::was_replaced))
            .then(|| note_gap(&mut journal));
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
        let components = not_looked_at(&config, &journal);
        let herald = Herald::new(&config, &journal, components, notices);
        let (status, deadline) = herald.watch();
        let (sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let (finish, finished) = mpsc::channel(COMMAND_QUEUE);
        let policy = Arc::new(Gatekeeper::open(Arc::clone(&disk), &config));
        policy.tidy();
        herald.update_policy(policy.status());
        let (told, gate) = (herald.notices(), Arc::clone(&policy));
        let (applications, connected) = watch::channel(None);
        let hands = Hands::new(&disk, Arc::clone(&config), programs, gate, told, connected, finish);
        let (state, check_answer) = (State::Idle, None);
        let asks = Arc::clone(&policy);
        let mut actor = Self {
            config,
            state,
            journal,
            herald,
            hands,
            policy,
            commands,
            finished,
            check_answer,
            looks: Looks::default(),
            first_look: FirstLook::new(),
            hashed: LastHashed::default(),
        };
        for failure in actor.hands.examine().await {
            // Told now, so that nobody sends a file for nothing. Whoever puts it right starts the
            // daemon again.
            actor.herald.notice(&failure);
        }
        let looked = actor.first_look.watch();
        actor.resume().await.context("an upgrade is under way, and its state is not known")?;
        if !*looked.borrow() {
            actor.begin_first_look();
        }
        actor.look_in(Duration::ZERO);
        let policy = Some(asks);
        Ok((actor, Engine { commands: sender, status, deadline, policy, applications, looked }))
    }

    async fn resume(&mut self) -> Result<(), Failure> {
        let recorded = self.journal.upgrade().cloned();
        if recorded.is_none() && !self.journal.has_foreign_trial() {
            self.hands.settle().await;
        }
        let state = match (recorded, self.journal.unacknowledged().last().cloned()) {
            (Some(state), _) => state,
            (None, Some(report)) => concluded(report),
            (None, None) => State::Idle,
        };
        let from = state.phase();
        let found = self.hands.find(&state).await;
        if self.journal.upgrade().is_some() && found.is_ok() {
            // Behind the look at the restart: what is read now was not read before it.
            self.look_first().await;
        }
        let (mut state, actions) = match found {
            Ok(found) => state.resume(&found),
            // An upgrade about which nothing can be proved now stays in the journal: systemd starts
            // the daemon again.
            Err(failure) if self.journal.upgrade().is_some() => return Err(failure),
            Err(failure) => {
                self.herald.notice(&failure);
                return Ok(());
            }
        };
        let now = state.phase();
        if let State::Reverting { swap, verdict, .. } = &mut state
            && let (Phase::Trial, Some(unit), true) =
                (from, &swap.terms.unit, verdict.program_log.is_empty())
        {
            // Its boots are used up; what it had to say, it said in those.
            let before = swap.terms.start_before.as_deref();
            verdict.program_log = unit::last_lines(unit, None, before).await;
        }
        self.state = state.clone();
        speak_of(&self.state);
        if from != Phase::Idle {
            tracing::info!(
                MESSAGE_ID = message::RESUMED,
                "resuming an upgrade that was {from}: now {now}"
            );
        }
        self.enter(state, actions).await;
        Ok(())
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
