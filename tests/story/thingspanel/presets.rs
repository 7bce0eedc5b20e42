//! Each generation from the task to its good end.

use uplift_sim::cloud::thingspanel::{Event, Generation, Options, Spelling};

use super::{Site, of};
use crate::world::payload::{NEW, OLD};

/// TP-1, TP-15, TP-16, and the whole way.
#[test]
fn tp_1_each_generation_upgrades_the_payload() {
    for generation in [Generation::LegacyInfrom, Generation::V05, Generation::V1] {
        let mut site = Site::new(of(generation));
        let id = site.server.push(&site.task()).unwrap();
        let report = site.succeeds(&id);
        assert_eq!(report.package.unwrap().version.to_string(), NEW);
        let steps = site.steps();
        assert!(steps.is_sorted() && steps[0] == 1, "{steps:?}");
        site.reported(2);
        let told = [OLD, NEW].map(|version| ("default".to_owned(), version.to_owned()));
        assert_eq!(site.versions(), told, "once at the start, and once after the upgrade");
    }
}

#[test]
fn tp_1_a_server_of_1_x_may_spell_its_topic_either_way_and_both() {
    for spelling in [Spelling::Inform, Spelling::Both] {
        let mut site = Site::new(Options { spelling, ..of(Generation::V1) });
        let id = site.server.push(&site.task()).unwrap();
        site.succeeds(&id);
        assert_eq!(site.payload.history().len(), 1, "{spelling:?}");
        let sent = |event: &Event| matches!(event, Event::Sent { .. });
        assert_eq!(site.events().iter().filter(|event| sent(event)).count(), 1, "{spelling:?}");
    }
}
