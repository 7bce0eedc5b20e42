//! What ends on the way: either process, the machine, its power, the broker.

use uplift::model::{Outcome, Phase, Status};
use uplift_sim::cloud::thingspanel::{Event, Generation, Options, State, Way};

use super::{Site, of, v05};
use crate::world::payload::{NEW, Payload};
use crate::world::watched::Watched as _;

const WATCHED: &str =
    "window = \"0s\"\ndeadline = \"60s\"\nhealth_command = [\"test\", \"-e\", \"ROOT/healthy\"]";

/// A task whose file comes slowly, and has come as far as the daemon writes it down: 16 MiB.
fn slow() -> (Site, String) {
    slow_of(v05())
}

fn slow_of(options: Options) -> (Site, String) {
    let way = Way { rate: Some(8 << 20), ..Way::default() };
    let site = Site::new(Options { way, ..options });
    let id = site.server.push(&site.task_of(NEW, 40 << 20)).unwrap();
    site.payload.has_written_down(16 << 20);
    (site, id)
}

impl Site {
    /// The rest comes behind what was written down.
    #[track_caller]
    fn goes_on(&mut self, id: &str, interrupt: impl FnOnce(&mut Self)) {
        interrupt(self);
        self.succeeds(id);
        let sent = self.sent();
        assert!(sent.iter().any(|(_, from, _)| *from >= 16 << 20), "where it was: {sent:?}");
        // A daemon that still writes down the end of a connection has the next one begin twice.
        assert!(sent.len() <= 3, "{sent:?}");
        assert_eq!(self.payload.history().len(), 1);
        self.reported(2);
    }

    fn proves_itself(&self) {
        std::fs::write(self.payload.root().join("healthy"), "").unwrap();
    }
}

#[test]
fn a_channel_that_is_killed_goes_on_where_it_was() {
    let (mut site, id) = slow();
    site.goes_on(&id, Site::restart_channels);
}

#[test]
fn a_daemon_that_is_killed_goes_on_with_what_was_durable() {
    let (mut site, id) = slow();
    site.goes_on(&id, |site| site.payload.restart_daemon());
}

/// The task is kept over a restart, and its file goes on; also where the broker does not come back.
#[test]
fn a_restart_of_the_machine_goes_on_where_it_was() {
    for generation in [Generation::V05, Generation::V1] {
        let (mut site, id) = slow_of(of(generation));
        site.goes_on(&id, |site| site.payload.reboot());
    }
}

#[test]
fn a_power_cut_while_the_file_comes_loses_no_task() {
    let (mut site, id) = slow();
    site.goes_on(&id, |site| {
        site.payload.power_off();
        site.payload.reboot();
        site.payload.start_channels().unwrap();
    });
}

/// The broker dies in the middle of the download, and is away until the new program runs.
#[test]
fn tp_14_a_broker_that_is_killed_hears_the_end_once_when_it_is_back() {
    let (mut site, id) = slow();
    site.server.broker_mut().ours().unwrap().kill();
    site.payload.restart_when_asked();
    // The end is kept: nobody has acknowledged it.
    let is_over = |status: &Status| status.unacknowledged.len() == 1;
    site.payload.wait_for_status(is_over).unwrap();
    // And outlives another restart.
    site.payload.reboot();
    site.server.broker_mut().ours().unwrap().start_again().unwrap();
    site.stands(&id, State::Success);
    assert_eq!(site.over().outcome, Outcome::Succeeded);
    site.restart_channels();
    site.says(uplift::model::ChannelState::Works, "hears tasks");
    let steps = site.steps();
    assert_eq!(steps.iter().filter(|step| **step == 100).count(), 1, "{steps:?}");
    site.is_well_spoken();
}

/// MQ-4: whichever process dies while the new program is on trial, the end is told once.
#[test]
fn mq_4_either_process_dies_on_trial_and_the_end_is_told_once() {
    for victim in ["channels", "daemon", "both"] {
        let mut site = Site::with(Payload::setup().trial(WATCHED), v05(), "");
        let id = site.server.push(&site.task()).unwrap();
        site.payload.restart_when_asked();
        site.payload.wait_for_phase(Phase::Trial);
        if victim != "daemon" {
            site.payload.kill_channels();
        }
        if victim != "channels" {
            site.payload.restart_daemon();
        }
        site.proves_itself();
        if victim != "daemon" {
            site.payload.start_channels().unwrap();
        }
        site.stands(&id, State::Success);
        assert_eq!(site.over().outcome, Outcome::Succeeded);
        site.restart_channels();
        site.reported(2);
        let steps = site.steps();
        assert_eq!(steps.iter().filter(|step| **step == 100).count(), 1, "{victim}: {steps:?}");
        assert_eq!(site.payload.reported_version().unwrap(), NEW);
        site.is_well_spoken();
    }
}

/// TP-14: between the broker's word and our own note the end may be told once more, which nobody can
/// tell apart from one that was lost; and not a third time.
#[test]
fn tp_14_channels_that_die_as_the_end_is_told_forget_neither_it_nor_that_it_was_told() {
    let mut site = Site::new(v05());
    let id = site.server.push(&site.task()).unwrap();
    site.payload.restart_when_asked();
    site.stands(&id, State::Success);
    site.payload.kill_channels();
    site.payload.start_channels().unwrap();
    assert_eq!(site.over().outcome, Outcome::Succeeded);
    for _ in 0..2 {
        site.restart_channels();
        site.says(uplift::model::ChannelState::Works, "hears tasks");
    }
    let steps = site.steps();
    let told = steps.iter().filter(|step| **step == 100).count();
    assert!((1..=2).contains(&told), "{steps:?}");
    assert_eq!(steps.last(), Some(&100));
    assert_eq!(site.payload.history().len(), 1);
}

/// TP-15: on trial the new version is not told, since it may not stay.
#[test]
fn tp_15_no_version_is_told_before_it_is_settled() {
    let mut site = Site::with(Payload::setup().trial(WATCHED), v05(), "");
    let id = site.server.push(&site.task()).unwrap();
    site.payload.restart_when_asked();
    site.payload.wait_for_phase(Phase::Trial);
    let step = |event: &Event| matches!(event, Event::Progress { step, .. } if step == "95");
    assert!(site.server.events().wait_for(super::LONG, step).is_some());
    assert_eq!(site.versions().len(), 1);
    site.proves_itself();
    site.stands(&id, State::Success);
    site.reported(2);
    let events = site.events();
    let place = |wanted: fn(&Event) -> bool| events.iter().rposition(wanted).unwrap();
    let ended = place(|event| matches!(event, Event::Progress { step, .. } if step == "100"));
    let told = place(|event| matches!(event, Event::Reported { .. }));
    assert!(ended < told, "the end comes before the version: {events:#?}");
}
