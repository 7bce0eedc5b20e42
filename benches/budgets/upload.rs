//! 64 MiB by FTP until they are installed, against the vendor's way with the same file, in pairs,
//! one after the other.
//!
//! Both begin before the host logs in. Ours ends with the request for the restart, when the new
//! program is at its path and all that the journal and the directories have to say of it is on the
//! disk. The vendor's way is vsftpd as in its tutorial, then `cp -f`, `chmod 777` as in its sample,
//! and `sync`. Which of the two comes first changes from pair to pair, because what a disk has just
//! written may slow down what follows. What decides is what must be on the disk at the end, so the
//! bar is for a disk as slow as a payload's (benches/slow-disk); where a sync costs nothing, all
//! that is left is to hash the file. The serial line has no pace here: the simulator holds it by
//! spinning, on one of the processors that both ways need.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use suppaftp::FtpStream;
use suppaftp::types::FileType;
use uplift_sim::aircraft::{FtpOptions, Step, Via};

use super::payload::{MIB, Payload};
use super::statistics::median;
use super::table::Row;
use super::vsftpd::Vsftpd;

const SIZE: u64 = 64 * MIB;
/// More memory than either way writes to.
const WARM: usize = 512 << 20;
const BLOCK: usize = 256 << 10;
const PAIRS: usize = 7;
const BAR: f64 = 0.8;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let mut payload = Payload::new(None)?;
    payload.sandbox.start_ftp_server()?;
    payload.sandbox.start_daemon()?;
    let vsftpd = Vsftpd::start();
    let (mut ours, mut vendors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let firmware = payload.next_firmware(SIZE)?;
        let (our, vendor) = if pair % 2 == 0 {
            let our = upgrade(&mut payload, &firmware)?;
            (our, vendor(&vsftpd, &firmware)?)
        } else {
            let vendor = vendor(&vsftpd, &firmware)?;
            (upgrade(&mut payload, &firmware)?, vendor)
        };
        let (our, vendor) = (our.as_secs_f64(), vendor.as_secs_f64());
        ours.push(our);
        vendors.push(vendor);
        ratios.push(our / vendor);
    }
    let slow_disk = std::env::var("UPLIFT_DISK");
    let disk = slow_disk.as_deref().unwrap_or("this disk");
    let ratio = format!("our time of the vendor's way, median of {PAIRS} pairs, {disk}");
    Ok(vec![
        Row::note(
            format!("FTP upload of 64 MiB to restart request, {disk}"),
            1e3 * median(ours),
            "ms",
        ),
        Row::note(
            format!("the same by vsftpd, cp -f, chmod, sync, {disk}"),
            1e3 * median(vendors),
            "ms",
        ),
        match slow_disk {
            Ok(_) => Row::at_most(ratio, median(ratios), BAR, ""),
            Err(_) => Row::note(ratio, median(ratios), ""),
        },
    ])
}

/// Neither way pays for what was written before it, nor for memory that a virtual machine has to
/// ask its host for: there, the first use of a page costs more than all else that is done with it
/// here.
pub(crate) fn settle(directory: &Path) -> Result<()> {
    let scratch = directory.join("scratch");
    let mut file = File::create(&scratch)?;
    let block = vec![1; BLOCK];
    for _ in 0..WARM / BLOCK {
        file.write_all(&block)?;
    }
    // Before it is written to the disk.
    std::fs::remove_file(scratch)?;
    drop(file);
    run(&mut Command::new("sync"))
}

fn upgrade(payload: &mut Payload, firmware: &Path) -> Result<Duration> {
    settle(payload.sandbox.root())?;
    let upgrade = payload.upgrade(firmware, Via::Ftp, None)?;
    Ok(upgrade.restart_requested - upgrade.first(|step| matches!(step, Step::Entered { .. }))?)
}

/// A host's file, which comes no faster than its network.
pub(crate) struct Paced {
    file: File,
    rate: Option<u64>,
    began: Instant,
    bytes: u64,
}

impl Paced {
    pub(crate) fn new(file: File, rate: Option<u64>) -> Self {
        Self { file, rate, began: Instant::now(), bytes: 0 }
    }
}

impl io::Read for Paced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(rate) = self.rate {
            let due = self.began + Duration::from_secs_f64(self.bytes as f64 / rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let count = self.file.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// The vendor's way with a file, whose host sends at most so many bytes a second.
pub(crate) fn vendors_way(vsftpd: &Vsftpd, firmware: &Path, host: Option<u64>) -> Result<Duration> {
    let name = firmware.file_name().context("a firmware file has a name")?.to_string_lossy();
    let (uploaded, installed) =
        (vsftpd.home().join(&*name), vsftpd.home().with_file_name("installed"));
    let FtpOptions { user, password, .. } = FtpOptions::default();
    let start = Instant::now();
    let mut client = FtpStream::connect(vsftpd.address())?;
    client.login(user, password)?;
    client.transfer_type(FileType::Binary)?;
    let file = Paced::new(File::open(firmware)?, host);
    let mut data = client.put_with_stream(&*name)?;
    io::copy(&mut io::BufReader::with_capacity(BLOCK, file), &mut data)?;
    data.finish()?;
    run(Command::new("cp").arg("-f").arg(&uploaded).arg(&installed))?;
    run(Command::new("chmod").arg("777").arg(&installed))?;
    run(&mut Command::new("sync"))?;
    let time = start.elapsed();
    client.quit()?;
    std::fs::remove_file(uploaded)?;
    Ok(time)
}

fn vendor(vsftpd: &Vsftpd, firmware: &Path) -> Result<Duration> {
    settle(&vsftpd.home())?;
    vendors_way(vsftpd, firmware, None)
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
