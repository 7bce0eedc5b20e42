//! Debian's broker of MQTT, whose log tells who came when, and a platform at it that greets whoever
//! comes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use uplift_sim::cloud::broker::Choice;
use uplift_sim::cloud::dji;
use uplift_sim::cloud::mosquitto::Mosquitto;

use super::arrivals::Arrival;
use super::server::{DEVICE, now};

/// As root it would become somebody else; nothing is kept, and everybody may come.
const CONFIGURATION: &str = "user root\nlistener PORT 127.0.0.1\nallow_anonymous true\nlog_type notice\nlog_type information\n";
/// Its log is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// The broker. Each device that it has let in is an arrival, answered at once.
pub(crate) struct Broker {
    process: Mosquitto,
    _platform: Option<dji::Platform>,
}

impl Broker {
    /// Starts it, with DJI's platform where that is wanted.
    pub(crate) fn start(has_dji: bool, arrivals: Arc<Mutex<Vec<Arrival>>>) -> Result<Self> {
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers/usr/sbin/mosquitto");
        let process = Mosquitto::start(&program, tempfile::tempdir()?, CONFIGURATION)?;
        let mut log = process.log();
        std::thread::spawn(move || {
            loop {
                let arrival = log.next(LOOK).and_then(|line| arrival(&line));
                arrivals.lock().unwrap_or_else(PoisonError::into_inner).extend(arrival);
            }
        });
        let broker = Choice { url: Some(process.url()), ..Choice::default() };
        let platform = has_dji
            .then(|| dji::Platform::start(dji::Options { broker, ..dji::Options::default() }));
        let _platform = platform.transpose().context("the platform does not start")?;
        Ok(Self { process, _platform })
    }

    pub(crate) fn port(&self) -> u16 {
        self.process.port()
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.process.start_again()
    }
}

/// "New client connected from 127.0.0.1:34574 as device-7 (p2, c1, k60)."
fn arrival(line: &str) -> Option<Arrival> {
    let (_, client) = line.split_once("New client connected from ")?;
    let (_, named) = client.split_once(&format!(" as {DEVICE}"))?;
    let device = named.split(' ').next()?.parse().ok()?;
    Some(Arrival { at: now().ok()?, device, answered: true })
}
