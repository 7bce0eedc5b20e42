//! The metrics as text in the exposition format of Prometheus, version 0.0.4. Pure: text from
//! values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use crate::engine::{Ended, Measures};
use crate::model::{ChannelState, ComponentName, LinkState, Outcome, Phase, Status, UpgradeId};

/// Label of an upgrade that did not fail.
const NO_KIND: &str = "none";
/// Labels of one that succeeded.
const SUCCESS: (&str, &str) = (name_of(Outcome::Succeeded), NO_KIND);

/// Component, outcome and kind of an upgrade.
type Labels = (ComponentName, &'static str, &'static str);

/// The upgrades by component, outcome and kind: those of the history when somebody asks for the first time,
/// and those that ended since.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Those of the history that are counted already. What has left the history does not come back.
    counted: BTreeSet<UpgradeId>,
    upgrades: BTreeMap<Labels, u64>,
}

impl Tally {
    /// Counts what is new in the history.
    pub(super) fn count(&mut self, history: &[Ended]) {
        for ended in history.iter().filter(|ended| !self.counted.contains(&ended.id)) {
            *self.upgrades.entry(labels(ended)).or_default() += 1;
        }
        self.counted = history.iter().map(|ended| ended.id.clone()).collect();
    }

    fn rollbacks(&self) -> u64 {
        let name = name_of(Outcome::RolledBack);
        self.upgrades
            .iter()
            .filter(|((_, outcome, _), _)| *outcome == name)
            .map(|(_, number)| number)
            .sum()
    }
}

const fn name_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::RolledBack => "rolled-back",
    }
}

fn labels(ended: &Ended) -> Labels {
    (ended.component, name_of(ended.outcome), ended.kind.map_or(NO_KIND, |kind| kind.as_str()))
}

/// All metrics.
pub(super) fn render(status: &Status, measures: &Measures, tally: &Tally) -> String {
    let mut page = Page(String::new());
    page.versions(status);
    page.phase(status, measures);
    page.gauge("uplift_held", "1 while somebody holds upgrades.");
    page.sample("uplift_held", &[], u8::from(status.policy.hold.is_some()));
    page.upgrades(status, tally);
    page.gauge(
        "uplift_reports_unacknowledged",
        "Reports that are repeated until their receivers acknowledge them.",
    );
    page.sample("uplift_reports_unacknowledged", &[], status.unacknowledged.len());
    page.counter(
        "uplift_received_bytes_total",
        "Bytes of firmware files received since the daemon started.",
    );
    page.sample("uplift_received_bytes_total", &[], measures.received_bytes);
    if status.link.state != LinkState::Disabled {
        page.link(status, measures);
    }
    if !status.channels.is_empty() {
        page.channels(status);
    }
    page.0
}

/// The text that grows.
struct Page(String);

impl Page {
    fn versions(&mut self, status: &Status) {
        self.gauge("uplift_build_info", "Version of the daemon; the value is 1.");
        self.sample("uplift_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.gauge(
            "uplift_component_info",
            "What is installed; the version is empty where it is not known; the value is 1.",
        );
        for installed in &status.components {
            let version = installed.version.map(|version| version.to_string()).unwrap_or_default();
            self.sample(
                "uplift_component_info",
                &[
                    ("component", installed.component.as_str()),
                    ("product", &installed.product),
                    ("version", &version),
                ],
                1,
            );
        }
    }

    fn phase(&mut self, status: &Status, measures: &Measures) {
        self.gauge("uplift_phase", "1 for the phase that the upgrade is in, 0 for all others.");
        for phase in Phase::ALL {
            self.sample(
                "uplift_phase",
                &[("phase", phase.as_str())],
                u8::from(phase == status.phase),
            );
        }
        self.gauge(
            "uplift_phase_seconds",
            "Time since this phase began or the daemon started in it, by the monotonic clock.",
        );
        self.sample(
            "uplift_phase_seconds",
            &[],
            format_args!("{:.3}", measures.in_phase.as_secs_f64()),
        );
    }

    fn upgrades(&mut self, status: &Status, tally: &Tally) {
        if let Some(report) = &status.last {
            let (component, outcome, kind) = labels(&Ended::from(report));
            self.gauge("uplift_last_upgrade_info", "How the last upgrade ended; the value is 1.");
            let component = component.as_str();
            self.sample(
                "uplift_last_upgrade_info",
                &[("component", component), ("outcome", outcome), ("kind", kind)],
                1,
            );
        }
        self.counter(
            "uplift_upgrades_total",
            "Upgrades that ended: those in the history, and those since the daemon started.",
        );
        // No success yet is 0 and not absent, so that the first one is seen as an increase.
        let (succeeded, kind) = SUCCESS;
        let none_yet = status.components.iter().map(|one| ((one.component, succeeded, kind), 0));
        let mut upgrades: BTreeMap<Labels, u64> = none_yet.collect();
        upgrades.extend(tally.upgrades.iter());
        for ((component, outcome, kind), number) in upgrades {
            let component = component.as_str();
            self.sample(
                "uplift_upgrades_total",
                &[("component", component), ("outcome", outcome), ("kind", kind)],
                number,
            );
        }
        self.counter("uplift_rollbacks_total", "Upgrades after which the old program was put back, counted like uplift_upgrades_total.");
        self.sample("uplift_rollbacks_total", &[], tally.rollbacks());
    }

    fn link(&mut self, status: &Status, measures: &Measures) {
        self.gauge("uplift_link_up", "1 while the aircraft answers on the payload link.");
        self.sample("uplift_link_up", &[], u8::from(status.link.state == LinkState::Linked));
        self.counter(
            "uplift_link_errors_total",
            "How often the device or the aircraft was lost since the daemon started.",
        );
        self.sample("uplift_link_errors_total", &[], measures.link_errors);
    }

    fn channels(&mut self, status: &Status) {
        self.gauge("uplift_channel_up", "1 while a network channel reaches its server.");
        for channel in &status.channels {
            let is_up = channel.state == ChannelState::Works;
            let labels = [("channel", channel.name.as_str())];
            self.sample("uplift_channel_up", &labels, u8::from(is_up));
        }
        self.counter(
            "uplift_channel_errors_total",
            "How often a network channel lost its server since its process started.",
        );
        for channel in &status.channels {
            let labels = [("channel", channel.name.as_str())];
            self.sample("uplift_channel_errors_total", &labels, channel.errors);
        }
    }

    fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, "gauge", help);
    }

    fn counter(&mut self, name: &str, help: &str) {
        self.family(name, "counter", help);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FailureKind;

    fn report(id: u32, outcome: Outcome, kind: Option<FailureKind>) -> Ended {
        Ended { id: UpgradeId(id.to_string()), component: ComponentName::PROGRAM, outcome, kind }
    }

    #[test]
    fn an_upgrade_counts_once_and_stays_when_the_history_forgets_it() {
        let mut tally = Tally::default();
        let one = report(1, Outcome::Failed, Some(FailureKind::Downgrade));
        let two = report(2, Outcome::RolledBack, Some(FailureKind::Unhealthy));
        tally.count(std::slice::from_ref(&one));
        tally.count(&[one, two.clone()]);
        tally.count(&[two.clone(), report(3, Outcome::Succeeded, None)]);
        tally.count(&[report(3, Outcome::Succeeded, None), two]);
        let counted: Vec<_> = tally.upgrades.into_iter().collect();
        assert_eq!(
            counted,
            [
                ((ComponentName::PROGRAM, "failed", "downgrade"), 1),
                ((ComponentName::PROGRAM, "rolled-back", "unhealthy"), 1),
                ((ComponentName::PROGRAM, "succeeded", "none"), 1)
            ]
        );
    }

    #[test]
    fn a_label_can_hold_anything() {
        let mut page = Page(String::new());
        page.sample("name", &[("label", "a\"b\\c\nd")], 1);
        assert_eq!(page.0, "name{label=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}
