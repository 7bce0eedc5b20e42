//! The project's key stands in each URL, and nowhere else.

use std::fs;
use std::path::Path;

use uplift::model::ChannelState;
use uplift_sim::cloud::delivery::{Delivery, Redirect};
use uplift_sim::cloud::luatos::Options;

use super::{KEY, PACKAGE, PLATFORM, Site, asks_anew, says, standing};
use crate::world::payload::Payload;

/// Neither in what its processes say, nor in what they keep.
#[track_caller]
fn is_nowhere(payload: &Payload) {
    let mut said = payload.logs();
    for arguments in [&["status"][..], &["status", "--json"], &["history", "--json"], &["metrics"]]
    {
        said += &payload.uplift(arguments).1;
    }
    assert!(!said.contains(KEY), "{said}");
    let files = ["state", "state-channels", "bin"].map(|name| payload.root().join(name));
    files.iter().for_each(|directory| is_not_in(directory));
}

fn is_not_in(path: &Path) {
    let Ok(directory) = fs::read_dir(path) else {
        let content = fs::read(path).unwrap_or_default();
        let is_there = content.windows(KEY.len()).any(|part| part == KEY.as_bytes());
        assert!(!is_there, "{}", path.display());
        return;
    };
    directory.flatten().for_each(|entry| is_not_in(&entry.path()));
}

#[test]
fn lu_1_the_key_is_not_shown_when_all_is_well() {
    let mut site = Site::new(PLATFORM, Options::default());
    site.payload.restart_when_asked();
    site.answered(PACKAGE, 27);
    is_nowhere(&site.payload);
}

#[test]
fn lu_1_the_key_is_not_shown_when_the_server_is_away() {
    let mut site = Site::new(PLATFORM, Options::default());
    site.payload.kill_channels();
    site.server.go_down();
    site.payload.start_channels().unwrap();
    says(&site.payload, ChannelState::Waits, "its server does not answer");
    is_nowhere(&site.payload);
}

#[test]
fn lu_1_the_key_is_not_shown_when_the_file_does_not_come() {
    for location in [
        "file:///etc/passwd",
        "http://127.0.0.1:1/pkg.bin",
        "/away?key=b0wlT3yrmIpTSPLi3e7Fob5nvBJxO6pM",
    ] {
        let redirect = Redirect::To(location.to_owned());
        let delivery = Delivery { redirect, ..Delivery::default() };
        let site = Site::new(PLATFORM, Options { delivery, ..Options::default() });
        standing(&site.payload, |status| !status.sentence.is_empty());
        is_nowhere(&site.payload);
    }
}

#[test]
fn lu_1_the_key_is_not_shown_when_a_download_ends() {
    let delivery = Delivery { cut_after: Some(1000), ..Delivery::default() };
    let mut site = Site::new(PLATFORM, Options { delivery, ..Options::default() });
    says(&site.payload, ChannelState::Waits, "as often as it may in a day");
    is_nowhere(&site.payload);
    asks_anew(&mut site.payload);
    says(&site.payload, ChannelState::Waits, "as often as it may in a day");
    is_nowhere(&site.payload);
}
