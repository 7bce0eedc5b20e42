//! How upgrades ended: the report that is made, kept, and forgotten once somebody has seen it.

use super::Actor;
use crate::config::Component;
use crate::engine::herald::log;
use crate::journal;
use crate::machine::{Event, State};
use crate::model::{ChannelName, Failure, Outcome, Report};

impl Actor {
    pub(super) async fn acknowledge(&mut self, channel: ChannelName) -> Result<(), Failure> {
        let awaited = matches!(&self.state, State::Concluded { upgrade, .. } if upgrade.request.channel == channel);
        if awaited {
            self.apply(Event::Acknowledge).await?;
        }
        self.forget_report_of(channel).await;
        Ok(())
    }

    pub(super) async fn forget_report_of(&mut self, channel: ChannelName) {
        if !self.journal.unacknowledged().iter().any(|report| report.request.channel == channel) {
            return;
        }
        // A failed write is in the notices by then, and at worst the report is repeated after a
        // restart.
        let _ = self
            .write_journal("the acknowledgement", move |journal| journal.acknowledge(channel))
            .await;
        self.herald.update_unacknowledged(&self.journal);
    }

    pub(super) async fn report(&mut self) {
        let State::Concluded { upgrade, conclusion } = self.state.clone() else { return };
        let component = upgrade.component();
        self.hands.finish_swap(component, &conclusion).await;
        let report = Report::of(upgrade, conclusion, journal::stamp());
        log(&report);
        let acknowledged = !report.request.is_acknowledged();
        let written = report.clone();
        let kept = self
            .write_journal("the report", move |journal| journal.conclude(&written, acknowledged))
            .await;
        if let Err(failure) = kept {
            tracing::error!(UPLIFT_KIND = %failure.kind, "the report is kept in memory only");
        } else {
            self.hands.forget_second_copy().await;
            self.hands.clear_change().await;
            self.hands.forget_part().await;
            if report.outcome == Outcome::Succeeded {
                self.hands.forget_older(component).await;
            }
        }
        let was_left_alone = report.phases.iter().all(|one| one.phase.leaves_alone());
        let installed = match self.config.components.get(component) {
            // Its updater would be asked for its version, and whoever waits would wait for that.
            Some(Component::Command(_)) if was_left_alone => None,
            Some(component) => Some(self.installed(component).await),
            None => None,
        };
        self.herald.ended(report, installed, &self.journal);
    }
}

/// The state of a report that still waits for its receiver.
pub(super) fn concluded(report: Report) -> State {
    let (upgrade, conclusion) = report.into_parts();
    State::Concluded { upgrade, conclusion }
}
