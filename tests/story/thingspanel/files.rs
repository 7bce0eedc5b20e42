//! How the file comes: what a task says of it, and the platform's own way of ranges.

use uplift::model::Outcome;
use uplift_sim::cloud::thingspanel::{
    Event, Generation, Options, Ranges, Signed, Size, State, Task, Way,
};

use super::{Site, of};
use crate::world::payload::{NEW, Payload};

impl Site {
    /// What was sent: status, first byte, and number of bytes.
    pub(super) fn sent(&self) -> Vec<(u16, u64, u64)> {
        let sent = self.events().into_iter().filter_map(|event| match event {
            Event::Sent { status, from, sent, .. } => Some((status, from, sent)),
            _ => None,
        });
        sent.collect()
    }

    /// No range was asked for that the platform refuses.
    #[track_caller]
    pub(super) fn nothing_was_refused(&self) {
        let refused = |event: &Event| matches!(event, Event::Refused { .. });
        let refused: Vec<Event> = self.events().into_iter().filter(refused).collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }
}

/// TP-6 to TP-8, TP-5, DL-4, DL-5: the seal decides, whatever the platform says or does not say.
#[test]
fn tp_7_a_task_is_done_whatever_it_says_of_size_and_digest() {
    let like = |change: fn(Task) -> Task| {
        let mut site = Site::new(of(Generation::V05));
        let task = change(site.task());
        let id = site.server.push(&task).unwrap();
        site.succeeds(&id);
    };
    like(|task| Task { signed: Signed::Sha256, size: Some(Size::Text), ..task });
    like(|task| Task { signed: Signed::Dashed, size: Some(Size::Absent), ..task });
    like(|task| Task { signed: Signed::Null, size: Some(Size::Zero), ..task });
    like(|task| Task { signed: Signed::Absent, code_is_number: true, module: None, ..task });
    like(|task| Task {
        version: "v2".to_owned(),
        file_name: "PSDK_APPALIAS_V02.00.00.00.bin".to_owned(),
        ..task
    });
    // A version of the platform's own: the seal says ours.
    like(|task| Task { version: "spring-2026".to_owned(), ..task });
}

/// 3.7: what is cut off goes on where it was, though the status of the rest differs.
#[test]
fn tp_17_a_download_goes_on_by_the_platform_s_own_ranges() {
    for (generation, status) in [(Generation::V05, 206), (Generation::V1, 200)] {
        let way = Way { cut_after: Some(100_000), cuts: 1, ..Way::default() };
        let mut site = Site::new(Options { way, ..of(generation) });
        let task = site.task();
        let size = task.content.size();
        let id = site.server.push(&task).unwrap();
        site.succeeds(&id);
        assert_eq!(site.sent(), [(200, 0, 100_000), (status, 100_000, size - 100_000)]);
        site.nothing_was_refused();
    }
}

#[test]
fn tp_17_a_server_without_ranges_sends_it_anew() {
    let way = Way { cut_after: Some(100_000), cuts: 1, ranges: Ranges::Ignored, ..Way::default() };
    let mut site = Site::new(Options { way, ..of(Generation::V05) });
    let task = site.task();
    let id = site.server.push(&task).unwrap();
    site.succeeds(&id);
    assert_eq!(site.sent(), [(200, 0, 100_000), (200, 0, task.content.size())]);
}

/// TP-17: pieces of 1 MiB, a wrong sum asked for once more, and never an end behind the file.
#[test]
fn tp_17_a_file_comes_in_pieces_whose_sums_are_compared() {
    for (generation, status) in [(Generation::V05, 206), (Generation::V1, 200)] {
        let way = Way { wrong_sums: 1, ..Way::default() };
        let options = Options { way, ..of(generation) };
        let mut site = Site::with(Payload::setup(), options, "crc = true\n");
        let task = site.task_of(NEW, 3_000_000);
        let size = task.content.size();
        let id = site.server.push(&task).unwrap();
        site.succeeds(&id);
        let sent = site.sent();
        assert!(sent.iter().all(|(got, _, bytes)| *got == status && *bytes <= 1 << 20), "{sent:?}");
        let bytes: u64 = sent.iter().skip(1).map(|(_, _, bytes)| bytes).sum();
        assert_eq!((bytes, sent[0].1), (size, sent[1].1), "the first came twice: {sent:?}");
        site.nothing_was_refused();
    }
}

#[test]
fn tp_17_sums_that_stay_wrong_are_a_failed_download() {
    let way = Way { wrong_sums: u32::MAX, ..Way::default() };
    let options = Options { way, ..of(Generation::V05) };
    let site = Site::with(Payload::setup(), options, "crc = true\n");
    let id = site.server.push(&site.task()).unwrap();
    let desc = site.fails(&id, -2);
    assert!(desc.contains("sum"), "{desc}");
    assert_eq!(site.over().outcome, Outcome::Failed);
    assert_eq!(site.sent().len(), 2);
}

/// 3.8: a URL that is a path alone.
#[test]
fn a_path_lies_behind_the_configured_base() {
    let mut site = Site::silent(Payload::setup(), of(Generation::V1), "");
    let base = format!("download_base = \"{}\"\n", site.server.url());
    site.payload.edit_config(|text| {
        text.replace("[channel.thingspanel]\n", &format!("[channel.thingspanel]\n{base}"))
    });
    site.payload.restart_daemon();
    site.payload.start_channels().unwrap();
    site.reported(1);
    let id = site.server.push(&Task { path_only: true, ..site.task() }).unwrap();
    site.succeeds(&id);
    assert_eq!(site.server.state(&id), Some(State::Success));
}
