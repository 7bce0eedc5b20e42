//! From the host's "check and start" to the daemon's request for the restart: nothing sleeps in
//! between.

use anyhow::Result;
use uplift_sim::aircraft::{Step, Via};

use super::payload::{MIB, Payload};
use super::statistics::median_time;
use super::table::Row;

const SIZE: u64 = 10 * MIB;
const RUNS: usize = 7;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let received = time(Via::Dcftp)?;
    let uploaded = time(Via::Ftp)?;
    Ok(vec![
        Row::below("check -> restart request, 10 MiB received", 1e3 * received, 100.0, "ms"),
        Row::note("the same, 10 MiB fetched from the FTP server first", 1e3 * uploaded, "ms"),
    ])
}

/// Seconds.
fn time(via: Via) -> Result<f64> {
    let mut payload = Payload::new(None)?;
    if via == Via::Ftp {
        payload.sandbox.start_ftp_server()?;
    }
    payload.sandbox.start_daemon()?;
    median_time(RUNS, || {
        let firmware = payload.next_firmware(SIZE)?;
        let upgrade = payload.upgrade(&firmware, via, None)?;
        Ok(upgrade.restart_requested - upgrade.first(|step| *step == Step::Complete)?)
    })
}
