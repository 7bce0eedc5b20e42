//! From `ota_create` to its answer, which is durable by then: against an echo by `mosquitto_sub` and
//! `mosquitto_pub` at the same broker, in turn; and while a file comes at full rate against one that
//! hardly comes.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use uplift::model::{ChannelState, Phase, Status};
use uplift_sim::cloud::broker::{Broker, Choice, Messages, Publisher, Qos};
use uplift_sim::cloud::content::Content;
use uplift_sim::cloud::delivery::Delivery;
use uplift_sim::cloud::dji::{Event, Ids, Options, Order, Platform};
use uplift_sim::cloud::event::Events;

use super::channels::server;
use super::fetching::{Fetching, name};
use super::payload::MIB;
use super::process::Ended;
use super::statistics::{median, most_of};
use super::table::Row;
use super::watched::Watched as _;

const NAME: &str = "PAYLOAD0001";
const RUNS: usize = 200;
/// Of the echo's time.
const BAR: f64 = 5.0;
/// Of the time without a download.
const BESIDE: f64 = 2.0;
/// What is left of a file that has lost its seal.
const CUT: u64 = 4096;
const LARGE: u64 = 1024 * MIB;
/// Bytes a second of a file that hardly comes.
const TRICKLE: u64 = 1000;
const MOST: usize = 2000;
const PATIENCE: Duration = Duration::from_secs(60);
/// Between an end and the next request, for the daemon to forget the report.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn measure() -> Result<Vec<Row>> {
    let (ours, echo) = accepted()?;
    let trickle = repeated(Some(TRICKLE), RUNS)?;
    let full = repeated(None, MOST)?;
    let times = full.len();
    let what = "ota_create -> services_reply";
    let (our_most, echo_most) = (most_of(&ours, 0.99), most_of(&echo, 0.99));
    let (trickle_most, full_most) = (most_of(&trickle, 0.99), most_of(&full, 0.99));
    Ok(vec![
        Row::note(format!("{what}, begun and durable, {RUNS} times, median"), median(ours), "ms"),
        Row::note("the same, 99 %", our_most, "ms"),
        Row::note("echo by mosquitto_sub and mosquitto_pub, median", median(echo), "ms"),
        Row::note("the same, 99 %", echo_most, "ms"),
        Row::at_most("the first at 99 %, of the echo at 99 %", our_most / echo_most, BAR, ""),
        Row::note(format!("{what}, again, a file hardly comes, median"), median(trickle), "ms"),
        Row::note("the same, 99 %", trickle_most, "ms"),
        Row::note(
            format!("{what}, again, at full rate, {times} times, median"),
            median(full),
            "ms",
        ),
        Row::note("the same, 99 %", full_most, "ms"),
        Row::note("the second at 99 %, of the first", full_most / trickle_most, ""),
        Row::at_most(
            "at full rate at 99 %, of one without a download",
            full_most / our_most,
            BESIDE,
            "",
        ),
    ])
}

/// Milliseconds of requests that begin an upgrade, and of echoes. The file has lost its end, so that
/// each upgrade ends by itself and at once.
fn accepted() -> Result<(Vec<f64>, Vec<f64>)> {
    let site = Site::start(Delivery::default(), MIB, Some(CUT))?;
    let echo = Echo::start(&site.platform)?;
    let (mut ours, mut echoes) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        echoes.push(echo.time(run)?);
        let mut events = site.events();
        let (ids, time) = site.time(&mut events)?;
        ours.push(time);
        let ended = events.wait_for(PATIENCE, |event| {
            matches!(event, Event::Progress { bid, status, .. } if *bid == ids.bid && status == "failed")
        });
        ended.context("the upgrade does not end")?;
        std::thread::sleep(PAUSE);
    }
    Ok((ours, echoes))
}

/// Milliseconds of requests for what comes already, at this rate, as long as it comes.
fn repeated(rate: Option<u64>, most: usize) -> Result<Vec<f64>> {
    let site = Site::start(Delivery { rate, ..Delivery::default() }, LARGE, None)?;
    let mut events = site.events();
    site.time(&mut events)?;
    let comes = |status: &Status| {
        let done = status.upgrade.as_ref().map_or(0, |upgrade| upgrade.progress.done);
        status.phase == Phase::Receiving && done > 0
    };
    site.payload.sandbox.wait_for_status(comes)?;
    let mut times = Vec::new();
    while times.len() < most {
        let (_, time) = site.time(&mut events)?;
        if !comes(&site.payload.sandbox.status()?) {
            break;
        }
        times.push(time);
    }
    ensure!(times.len() >= most.min(20), "the file was there after {} answers", times.len());
    Ok(times)
}

/// A payload at DJI's platform.
struct Site {
    payload: Fetching,
    platform: Platform,
    order: Order,
    _files: TempDir,
}

impl Site {
    /// With a file of this size, of which so many bytes are left.
    fn start(delivery: Delivery, size: u64, left: Option<u64>) -> Result<Self> {
        let mosquitto = Some(server("sbin/mosquitto"));
        let broker = Choice { mosquitto, ..Choice::default() };
        let platform = Platform::start(Options { broker, delivery, ..Options::default() })?;
        let sections = format!(
            "[broker.cloud]\nurl = \"{}\"\nclient_id = \"{NAME}\"\nspread = \"0s\"\n\
             [channel.dji-cloud]\nbroker = \"cloud\"\ngateway_sn = \"{NAME}\"\n",
            platform.broker_url()
        );
        let mut payload = Fetching::start(&sections)?;
        let files = TempDir::new_in("/dev/shm")?;
        let firmware = payload.firmware(files.path(), size)?;
        if let Some(left) = left {
            File::options().write(true).open(&firmware)?.set_len(left)?;
        }
        let order = order(&firmware)?;
        payload.sandbox.start_channels()?;
        payload.sandbox.wait_for_status(|status| {
            status.channels.iter().all(|channel| channel.state == ChannelState::Works)
        })?;
        Ok(Self { payload, platform, order, _files: files })
    }

    /// What happens from now on.
    fn events(&self) -> Events<Event> {
        let mut events = self.platform.events();
        while events.next(Duration::ZERO).is_some() {}
        events
    }

    /// Asks; milliseconds until it is taken.
    fn time(&self, events: &mut Events<Event>) -> Result<(Ids, f64)> {
        let asked = Instant::now();
        let ids = self.platform.ask(NAME, &self.order)?;
        let replied = events.wait_for(
            PATIENCE,
            |event| matches!(event, Event::Replied { tid, .. } if *tid == ids.tid),
        );
        let time = asked.elapsed().as_secs_f64() * 1e3;
        match replied {
            Some(Event::Replied { result: 0, .. }) => Ok((ids, time)),
            other => anyhow::bail!("the payload answered {other:?}"),
        }
    }
}

fn order(firmware: &Path) -> Result<Order> {
    Ok(Order::of(NAME, "02.00.0000", Content::open(firmware)?, name(firmware)?))
}

/// `mosquitto_sub` whose lines `mosquitto_pub` publishes.
struct Echo {
    publisher: Publisher,
    messages: Messages,
    _processes: [Ended; 2],
}

impl Echo {
    fn start(platform: &Platform) -> Result<Self> {
        let url = platform.broker_url();
        let port = url.rsplit(':').next().context("a port")?.to_owned();
        let client = |program: &str, topic: &str| {
            // Whatever they do by themselves, a line is to be there at once.
            let mut command = Command::new("stdbuf");
            command.arg("-oL").arg(server(program));
            command.args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", topic]);
            command
        };
        let mut hears = client("bin/mosquitto_sub", "ping").stdout(Stdio::piped()).spawn()?;
        let lines = hears.stdout.take().context("its output")?;
        let says = client("bin/mosquitto_pub", "pong").arg("-l").stdin(lines).spawn()?;
        let broker = Broker::open(&Choice { url: Some(url), ..Choice::default() })?;
        let (publisher, messages) = broker.connect("echo", &["pong"])?;
        let echo = Self { publisher, messages, _processes: [hears.into(), says.into()] };
        // Until both are there.
        let end = Instant::now() + PATIENCE;
        while echo.heard("first", Duration::from_millis(200)).is_err() {
            ensure!(Instant::now() < end, "there is no echo");
        }
        Ok(echo)
    }

    fn time(&self, number: usize) -> Result<f64> {
        let asked = Instant::now();
        self.heard(&number.to_string(), PATIENCE)?;
        Ok(asked.elapsed().as_secs_f64() * 1e3)
    }

    fn heard(&self, text: &str, within: Duration) -> Result<()> {
        self.publisher.publish("ping", text, Qos::AtMostOnce, false)?;
        let heard = self.messages.wait_for(within, |message| message.payload == text.as_bytes());
        heard.map(drop).context("no echo")
    }
}
