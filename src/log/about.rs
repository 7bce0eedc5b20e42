//! The upgrade that the process is about: its fields stand in each entry of the journal, wherever
//! in the house that was written. A process has one upgrade at a time, so that no line needs to
//! carry them itself.

use std::sync::{Mutex, PoisonError};

use tracing::{Event, Id, Span, Subscriber, span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::model::version::Version;
use crate::model::{ChannelName, Phase, Report, UpgradeId};

static UPGRADE: Mutex<Span> = Mutex::new(Span::none());

/// What is known of an upgrade when something is said about it.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) id: &'a UpgradeId,
    pub(crate) channel: Option<ChannelName>,
    pub(crate) phase: Phase,
    pub(crate) version: Option<Version>,
}

impl<'a> About<'a> {
    /// That of a report.
    pub(crate) fn report(report: &'a Report) -> Self {
        let version = report.package.as_ref().map(|package| package.version);
        Self {
            id: &report.id,
            channel: Some(report.request.channel),
            phase: Phase::Concluded,
            version,
        }
    }

    fn span(&self) -> Span {
        // What is not known is no field.
        let channel = self.channel.map(tracing::field::display);
        let version = self.version.map(tracing::field::display);
        tracing::error_span!(
            target: "uplift", "upgrade",
            UPLIFT_UPGRADE_ID = %self.id, UPLIFT_PHASE = %self.phase, UPLIFT_CHANNEL = channel, UPLIFT_VERSION = version
        )
    }
}

/// What is said from now on is about this upgrade, or about none.
pub(crate) fn about(upgrade: Option<&About<'_>>) {
    let span = upgrade.map_or_else(Span::none, About::span);
    let before =
        std::mem::replace(&mut *UPGRADE.lock().unwrap_or_else(PoisonError::into_inner), span);
    drop(before); // not under the lock: a layer may speak when a span ends
}

/// A layer of the journal's whose events get the fields of the upgrade.
pub(super) struct WithUpgrade<L>(pub(super) L);

impl<S: Subscriber + for<'span> LookupSpan<'span>, L: Layer<S>> Layer<S> for WithUpgrade<L> {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &span::Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let upgrade = UPGRADE.lock().unwrap_or_else(PoisonError::into_inner).clone();
        upgrade.in_scope(|| self.0.on_event(event, context));
    }
}
