//! The memory of daemon and FTP server together during a whole upgrade by FTP, restart and report
//! included: the largest sum of their proportional set sizes in any sample.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use uplift_sim::aircraft::{Options, Via};

use super::payload::{MIB, Payload};
use super::process::{children, pss_kib_of_all};
use super::table::Row;

const SAMPLE_EVERY: Duration = Duration::from_millis(2);

pub(crate) fn measure() -> Result<Vec<Row>> {
    let small = peak(MIB)?;
    let large = peak(1024 * MIB)?;
    Ok(vec![
        Row::at_most("peak PSS of daemon and FTP server, 1 MiB", small, 16.0, "MiB"),
        Row::at_most("peak PSS of daemon and FTP server, 1 GiB", large, 16.0, "MiB"),
        Row::at_most("difference of the two", (large - small).abs(), 1.0, "MiB"),
    ])
}

/// MiB.
fn peak(size: u64) -> Result<f64> {
    let mut payload = Payload::new(None)?;
    payload.sandbox.start_ftp_server()?;
    payload.sandbox.start_daemon()?;
    let firmware = payload.next_firmware(size)?;
    let before = Sampler::of_both(&payload)?;
    let aircraft = payload.aircraft(Options { via: Via::Ftp, ..Options::new(firmware) }, None);
    let requested = payload.sandbox.wait_for_restart_request();
    let before = before.peak()?;
    requested.and_then(|()| payload.sandbox.reboot())?;
    let after = Sampler::of_both(&payload)?;
    let (verdict, _) = aircraft.wait()?;
    let after = after.peak()?;
    if !verdict.is_success() {
        bail!("the upgrade failed: {}", verdict.message);
    }
    Ok(before.max(after) as f64 / 1024.0)
}

/// Looks again and again at how much memory processes have, with what they start.
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Sampler {
    fn of_both(payload: &Payload) -> Result<Self> {
        let daemon = payload.sandbox.daemon_pid().context("no daemon runs")?;
        let server = payload.sandbox.ftp_server_pid().context("no FTP server runs")?;
        Ok(Self::start(vec![daemon, server]))
    }

    pub(crate) fn start(processes: Vec<u32>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::Relaxed) {
                let mut all = processes.clone();
                for process in &processes {
                    all.extend(children(*process)?);
                }
                peak = peak.max(pss_kib_of_all(&all));
                thread::sleep(SAMPLE_EVERY);
            }
            Ok(peak)
        });
        Self { stop, thread }
    }

    /// KiB.
    pub(crate) fn peak(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let Ok(peak) = self.thread.join() else { bail!("the sampler crashed") };
        peak
    }
}
