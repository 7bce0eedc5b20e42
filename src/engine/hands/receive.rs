//! A place in the staging area for the file that comes, and the end of what lies there.

use std::io;
use std::sync::Arc;

use super::{Hands, Place};
use crate::engine::blocking::{blocking, off_thread};
use crate::engine::storage;
use crate::journal::mark::Mark;
use crate::journal::parts::Parts;
use crate::machine::State;
use crate::model::{ComponentName, Countdown, Failure, FailureKind, UpgradeId};
use crate::package::check::{Rules, check_announced};
use crate::record::part::Part;
use crate::stage::{Announced, Keeper, Observer, Receiving, Stage, Watch};

/// Who looks on while a file arrives.
pub(in crate::engine) struct Seen {
    /// Hears how many bytes are there.
    pub(in crate::engine) observer: Observer,
    /// Sees them, and stops a file that is wrong.
    pub(in crate::engine) watch: Box<dyn Watch>,
}

impl Hands {
    /// All but the file of this name, which an upgrade is to find again.
    pub(in crate::engine) async fn empty_stage(&mut self, kept: Option<String>) {
        if kept.is_none() {
            self.forget_part().await;
        }
        self.clear_stages(move |stage| stage.clean_but(kept.as_deref())).await;
    }

    /// What is not whole, and no part that this upgrade may go on with.
    pub(in crate::engine) async fn drop_receptions(&mut self, upgrade: Option<&UpgradeId>) {
        let kept = upgrade.and_then(|id| self.parts.of(id)).map(|part| part.staged);
        self.clear_stages(move |stage| stage.drop_receptions(kept.as_deref())).await;
    }

    /// Nobody goes on with a part any more.
    pub(in crate::engine) async fn forget_part(&self) {
        let parts = self.parts.clone();
        let forget = move || {
            parts.forget().map_err(|error| {
                let sentence = "the record of a received part can't be removed";
                Failure::from_io(FailureKind::InstallFailed, sentence, error)
            })
        };
        if let Err(failure) = blocking(forget).await {
            tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    async fn clear_stages(
        &mut self,
        clear: impl Fn(&Stage) -> Result<(), Failure> + Clone + Send + 'static,
    ) {
        self.staged = None;
        self.checked = None;
        for Place { stage, .. } in self.components.values() {
            let (stage, clear) = (stage.clone(), clear.clone());
            if let Err(failure) = blocking(move || clear(&stage)).await {
                // What could not be removed now will be in the way later, and is reported then.
                tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
            }
        }
    }

    /// Whether what is announced of a file passes, and its component could be upgraded.
    pub(in crate::engine) async fn admit(
        &self,
        component: ComponentName,
        announced: &Announced,
        rules: Rules,
    ) -> Result<(), Failure> {
        let (config, place) = self.component(component)?;
        let (config, announced, paths) =
            (config.clone(), announced.clone(), self.config.paths.clone());
        let program = place.program.clone();
        blocking(move || {
            check_announced(announced.file_name.as_deref(), announced.size, &rules)?;
            config.program().map_or(Ok(()), |program| storage::examine(program, &paths))?;
            program.map_or(Ok(()), |program| program.must_exchange())
        })
        .await
    }

    /// A place for the file.
    pub(in crate::engine) async fn receive(
        &self,
        component: ComponentName,
        announced: Announced,
        Seen { observer, watch }: Seen,
    ) -> Result<Receiving, Failure> {
        let stage = self.component(component)?.1.stage.clone();
        blocking(move || stage.receive(announced, observer)?.watched_by(watch)).await
    }

    /// A place for a file whose bytes outlive restarts: behind what is there of it already.
    pub(in crate::engine) async fn receive_kept(
        &self,
        upgrade: &UpgradeId,
        component: ComponentName,
        announced: Announced,
        Seen { observer, watch }: Seen,
    ) -> Result<Receiving, Failure> {
        let (stage, parts) = (self.component(component)?.1.stage.clone(), self.parts.clone());
        let (ends, upgrade) = (self.policy.longest_wait()?, upgrade.clone());
        let mark = self.mark()?;
        blocking(move || {
            let size = announced.size;
            let is_same = |part: &Part| {
                !announced.anew
                    && part.component == component
                    && (&part.file_name, part.size) == (&announced.file_name, size)
                    && stage.has_part(&part.staged, part.offset)
            };
            if let Some(part) = parts.of(&upgrade).filter(is_same) {
                parts.set_end(&upgrade, ends).map_err(unkept)?;
                let there = mark
                    .read(&part.staged)
                    .map_or(part.offset, |mark| mark.min(size.unwrap_or(u64::MAX)));
                let keeper = keeper(parts, mark, part.staged.clone());
                let resumed = stage.resume(&part.staged, announced, there, observer, keeper)?;
                return resumed.watched_by(watch);
            }
            // Of another file nothing is needed any more.
            stage.drop_receptions(None)?;
            let file = (announced.file_name.clone(), size);
            let receiving = stage.receive_kept(announced, observer, move |staged| {
                mark.forget()?;
                parts.begin(Part::new(upgrade, component, staged.clone(), file, ends))?;
                Ok(keeper(parts, mark, staged))
            })?;
            receiving.watched_by(watch)
        })
        .await
    }

    /// How much of a part is in its file in this boot.
    fn mark(&self) -> Result<Mark, Failure> {
        Ok(Mark::new(self.config.paths.runtime(), self.policy.now()?.boot_id))
    }

    /// The part of an upgrade, where one is kept.
    pub(in crate::engine) fn part(&self, upgrade: &UpgradeId) -> Option<Part> {
        self.parts.of(upgrade)
    }

    /// Whether a part of the file of an upgrade that was left lies where it was kept.
    pub(in crate::engine) fn has_part(&self, left: &State) -> bool {
        let (State::Receiving { upgrade } | State::Checking { upgrade }) = left else {
            return false;
        };
        let Some(part) = self.parts.of(&upgrade.id).filter(|_| upgrade.request.resumes) else {
            return false;
        };
        let place = self.component(part.component);
        place.is_ok_and(|(_, place)| place.stage.has_part(&part.staged, part.offset))
    }

    /// What a channel keeps with the part of its upgrade from now on.
    pub(in crate::engine) async fn note(
        &self,
        upgrade: &UpgradeId,
        note: Option<String>,
    ) -> Result<(), Failure> {
        let (parts, upgrade) = (self.parts.clone(), upgrade.clone());
        let noted = off_thread(move || parts.note(&upgrade, note)).await?.map_err(unkept)?;
        let sentence = "nothing of the file of this upgrade is kept";
        noted.then_some(()).ok_or_else(|| Failure::new(FailureKind::Cancelled, sentence))
    }

    /// Writes down what is left of the time of a part.
    pub(in crate::engine) async fn renew_part(&self, upgrade: &UpgradeId, ends: Countdown) {
        let (parts, upgrade) = (self.parts.clone(), upgrade.clone());
        // Not written, it waits longer.
        let _ = off_thread(move || parts.set_end(&upgrade, ends)).await;
    }
}

/// Writes down how much of a file is there.
fn keeper(parts: Parts, mark: Mark, staged: String) -> Keeper {
    let name = staged.clone();
    Keeper {
        durable: Arc::new(move |offset| parts.advance(&staged, offset)),
        written: Arc::new(move |offset| mark.write(&name, offset)),
    }
}

fn unkept(error: io::Error) -> Failure {
    let sentence = "the record of a received part can't be written";
    Failure::from_io(FailureKind::InstallFailed, sentence, error)
}
