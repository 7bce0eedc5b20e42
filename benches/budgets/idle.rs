//! The daemon that waits: its start, its size, its memory and what wakes it while it is linked to
//! an aircraft.

use std::fs::File;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use uplift::model::{ChannelState, LinkState, Status};
use uplift_sim::aircraft::{Options, Stage};

use super::payload::{MIB, Payload, shipped};
use super::process::{pss_kib, wake_ups};
use super::statistics::{median_time, timed};
use super::table::Row;
use super::watched::Watched as _;

const STARTS: usize = 15;
/// As in systemd/uplift.service; the daemon reports twice as often.
const WATCHDOG: Duration = Duration::from_secs(60);
/// Until what the start needed has gone: the runtime keeps a thread that has nothing to do for ten
/// seconds.
const SETTLE: Duration = Duration::from_secs(12);
const WATCH: Duration = Duration::from_secs(30);
/// The presence push.
const PRESENCE_EVERY: Duration = Duration::from_millis(1100);
/// Beside the presence push and the watchdog: an aircraft that says nothing for this long is asked,
/// and its answer comes at its own time (`guess::PROBE_AGAIN_AFTER`).
const ASKED_EVERY: Duration = Duration::from_secs(10);

pub(crate) fn measure() -> Result<Vec<Row>> {
    let size = std::fs::metadata(shipped()?)?.len();
    let mut rows = vec![
        Row::at_most("stripped release binary, as shipped", size as f64 / 1e6, 6.5, "MB"),
        Row::below(
            format!("started -> ready, median of {STARTS}"),
            1e3 * start_time()?,
            50.0,
            "ms",
        ),
    ];
    rows.extend(linked()?);
    let memory = with_channels()? as f64 / 1024.0;
    rows.push(Row::at_most("PSS of daemon and channels, idle", memory, 6.0, "MiB"));
    Ok(rows)
}

/// KiB of both processes, with a channel that waits for an offer.
fn with_channels() -> Result<u64> {
    let mut payload = Payload::new(None)?;
    let offers = payload.sandbox.root().join("run/offers.sock");
    let channel = format!("\n[channel.loopback]\nsocket = {offers:?}\nunsealed = \"lab\"\n");
    let mut config = File::options().append(true).open(payload.sandbox.config())?;
    config.write_all(channel.as_bytes())?;
    payload.sandbox.start_daemon()?;
    payload.sandbox.start_channels()?;
    let works = |status: &Status| status.channels[0].state == ChannelState::Works;
    payload.sandbox.wait_for_status(works)?;
    thread::sleep(SETTLE);
    let daemon = payload.sandbox.daemon_pid().context("no daemon runs")?;
    let channels = payload.sandbox.channels_pid().context("no channels run")?;
    Ok(pss_kib(daemon)? + pss_kib(channels)?)
}

/// Seconds, with a program of a usual size installed.
fn start_time() -> Result<f64> {
    let mut payload = Payload::new(Some(10 * MIB))?;
    median_time(STARTS, || {
        let time = timed(|| payload.sandbox.start_daemon())?;
        payload.sandbox.kill_daemon();
        Ok(time)
    })
}

/// How often a second the payload link wakes the daemon.
pub(crate) fn link_wake_ups() -> f64 {
    1.0 / PRESENCE_EVERY.as_secs_f64() + 1.0 / ASKED_EVERY.as_secs_f64()
}

fn linked() -> Result<Vec<Row>> {
    let mut payload = Payload::new(None)?;
    payload.sandbox.set_environment("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string());
    payload.sandbox.start_daemon()?;
    let firmware = payload.next_firmware(MIB)?;
    // It answers probes, asks for the version, and then only listens until it gives up.
    let pauses = vec![(Stage::Version, SETTLE + WATCH + SETTLE)];
    let aircraft = payload
        .aircraft(Options { pauses, abort_at: Some(Stage::Enter), ..Options::new(firmware) }, None);
    payload.sandbox.wait_for_status(|status| status.link.state == LinkState::Linked)?;
    thread::sleep(SETTLE);
    let daemon = payload.sandbox.daemon_pid().context("no daemon runs")?;
    let (before, began) = (wake_ups(daemon)?, Instant::now());
    thread::sleep(WATCH);
    let (wake_ups, seconds) = (wake_ups(daemon)? - before, began.elapsed().as_secs_f64());
    let memory = pss_kib(daemon)?;
    drop(aircraft.wait()?);
    Ok(vec![
        Row::at_most("PSS of the daemon, idle and linked", memory as f64 / 1024.0, 4.0, "MiB"),
        Row::at_most(
            "wake-ups, idle and linked: presence, watchdog, probe answers",
            wake_ups as f64 / seconds,
            link_wake_ups() + 2.0 / WATCHDOG.as_secs_f64(),
            "a second",
        ),
    ])
}
