//! Large files whose download is interrupted: only the rest is fetched.

use std::time::Duration;

use uplift_sim::cloud::delivery::Delivery;
use uplift_sim::cloud::hawkbit::{Deployment, Moment, Options, State, Turn};

use super::site::{DEVICE, Site, chunks};
use crate::world::payload::NEW;

const MIB: u64 = 1 << 20;
const LARGE: u64 = 64 * MIB;

fn slow() -> Options {
    let delivery = Delivery { rate: Some(10 * MIB), ..Delivery::default() };
    Options { delivery, ..Options::default() }
}

impl Site {
    /// Waits until no download goes on, and then for the end of the action. Each download went on
    /// where the daemon had what came before, and no sooner than this.
    fn ends_with_the_rest(&mut self, action: u64, from: &[u64]) {
        self.payload.wait_for_restart_request_within(super::site::LONG).unwrap();
        self.payload.reboot();
        self.succeeds(action);
        let mut downloads = self.downloads();
        downloads.sort_unstable();
        let begins: Vec<u64> = downloads.iter().map(|(from, _)| *from).collect();
        assert_eq!(begins.len(), from.len(), "{downloads:?}");
        assert!(begins.iter().zip(from).all(|(begins, least)| begins >= least), "{downloads:?}");
        assert_eq!(self.payload.reported_version().unwrap(), NEW);
    }
}

#[test]
fn dl_2_only_the_rest_is_fetched_after_a_server_that_cuts_or_restarts() {
    let delivery = Delivery { cut_after: Some(10 * MIB), cuts: 2, ..slow().delivery };
    let turns = vec![(Moment::InDownload, Turn::Restart(Duration::from_millis(500)))];
    let mut site = Site::of(Options { delivery, turns, ..Options::default() }, "");
    let firmware = site.sealed(NEW, LARGE);
    let action = site.offer(&[&firmware]);
    let downloads = [0, 10 * MIB, 20 * MIB, 30 * MIB];
    site.ends_with_the_rest(action, &downloads[..site_downloads(&site, 3)]);
}

/// How many downloads are awaited at least; a restart in a part that is cut anyway is none of its own.
fn site_downloads(site: &Site, least: usize) -> usize {
    site.payload.wait_for("the restart request", || site.payload.restart_requested());
    site.downloads().len().max(least)
}

#[test]
fn dl_2_only_the_rest_is_fetched_after_either_process_was_killed_and_after_a_reboot() {
    let mut site = Site::of(slow(), "");
    let firmware = site.sealed(NEW, LARGE);
    let action = site.offer(&[&firmware]);
    site.has_received(8 * MIB);
    site.payload.kill_channels();
    let killed = 8 * MIB - 4096;
    site.payload.has_written_down(killed);
    site.payload.start_channels().unwrap();
    // What a killed daemon has written down, every 16 MiB.
    site.payload.has_written_down(killed + 16 * MIB);
    site.payload.restart_daemon();
    site.payload.has_written_down(killed + 32 * MIB);
    site.payload.reboot();
    site.ends_with_the_rest(action, &[0, killed, killed + 16 * MIB, killed + 32 * MIB]);
}

/// DL-11.
#[test]
fn dl_11_what_is_offered_instead_is_fetched_from_its_beginning() {
    let mut site = Site::of(slow(), "");
    let (first, second) = (site.sealed(NEW, LARGE), site.sealed("V03.00.00.00", LARGE));
    let change = Turn::Change(Deployment { chunks: chunks(&[&second]), ..Deployment::default() });
    site.server.change(|options| options.turns = vec![(Moment::InDownload, change)]);
    let action = site.offer(&[&first]);
    site.over(action);
    assert_eq!(site.server.state(DEVICE, action), Some(State::Canceled));
    site.payload.wait_for_restart_request_within(super::site::LONG).unwrap();
    site.payload.reboot();
    site.succeeds(action + 1);
    assert_eq!(site.payload.reported_version().unwrap(), "V03.00.00.00");
    assert!(site.downloads().contains(&(0, std::fs::metadata(&second).unwrap().len())));
}
