//! The runner of a job: takes charge of it, runs its command, and writes down how that ended. A
//! process of its own (`uplift run-change DIRECTORY JOB`), which lives on when the daemon does not.

mod output;
mod running;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use sd_notify::NotifyState;

use super::{LOCK, RESERVE};
use crate::disk::{self, Disk, LocalDisk, Operation, PRIVATE_MODE};
use crate::model::{Failure, FailureKind};
use crate::record::change::{self, BEGUN_FILE, Begun, Ended, JOB_FILE, Job, JobId, RESULT_FILE};

pub(crate) use output::Output;

/// What a runner says to the daemon that has started it, once it is in charge.
pub(super) const READY: &str = "ready";
/// Longest that a job takes to end once its time is over.
pub(super) const LONGEST_END: Duration = running::GRACE.saturating_mul(2);
/// How long to wait for a look at the lock to be over, or another runner of the same job to take
/// charge.
const PATIENCE: Duration = Duration::from_secs(5);
/// The room that is kept for the result.
const RESERVED: u64 = 16 * 1024;
/// Where programs are, if nobody has said so.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Of a file that an updater makes without a mode of its own.
const UMASK: Mode = Mode::from_bits_truncate(0o022);

/// All that a runner, and its command, has of the daemon's environment.
pub(super) fn environment() -> [(&'static str, OsString); 2] {
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    [("PATH", path), ("LANG", "C.UTF-8".into())]
}

/// Runs the job of this name in this directory to its end, unless that was begun before.
pub(crate) fn run(directory: &Path, name: &str) -> Result<(), Failure> {
    detach();
    carry_out(&LocalDisk, directory, name, say_ready, running::run)
}

/// What is left of [`run`] where processes are somebody else's business: says that it is in charge,
/// and does the job, by what it is given for that.
pub(crate) fn carry_out(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    say_ready: impl Fn() -> io::Result<()>,
    run: impl FnOnce(&Job, &mut Output) -> Ended,
) -> Result<(), Failure> {
    let failed = |step: &'static str| {
        move |error: io::Error| Failure::from_io(FailureKind::InstallFailed, step, error)
    };
    let locked = disk::open_lock(&directory.join(LOCK))
        .map(|file| disk::lock_within(PATIENCE, file))
        .map_err(failed("the lock can't be opened"))?;
    let job = known(directory, name).map_err(failed("what is to be run can't be read"))?;
    if begun(directory, &job.id).map_err(failed("what was begun can't be read"))? {
        return say_ready().map_err(failed("the daemon can't be told"));
    }
    let _lock = locked.map_err(|errno| match errno {
        Errno::EWOULDBLOCK => Failure::new(FailureKind::Busy, "another updater still runs"),
        errno => failed("the lock can't be taken")(errno.into()),
    })?;
    let written = failed("that it is begun can't be written down");
    let mut output = take_charge(disk, directory, &job.id).map_err(written)?;
    // A daemon that is gone need not be told: it will find what was begun.
    let _ = say_ready();
    let ended = run(&job, &mut output);
    output.sync();
    let result = change::Result { id: job.id, ended };
    conclude(disk, directory, &result).map_err(failed("the result can't be written down"))
}

/// Leaves the session of the daemon, where it is in that, and becomes the parent of what its
/// descendants leave behind, so that those are found at the end of its time.
fn detach() {
    // It leads one already where systemd has started it.
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_child_subreaper(true);
    umask(UMASK);
}

fn known(directory: &Path, name: &str) -> io::Result<Job> {
    let job = change::read::<Job>(directory, JOB_FILE)?;
    job.filter(|job| job.id.to_string() == name)
        .ok_or_else(|| io::Error::other(format!("{name} is not the job that is to be run")))
}

fn begun(directory: &Path, id: &JobId) -> io::Result<bool> {
    Ok(change::read::<Begun>(directory, BEGUN_FILE)?.is_some_and(|begun| begun.id == *id))
}

fn take_charge(disk: &dyn Disk, directory: &Path, id: &JobId) -> io::Result<Output> {
    let output = Output::create(disk, directory)?;
    reserve(disk, directory)?;
    let begun = Begun { id: id.clone(), runner: std::process::id() };
    change::write(disk, directory, BEGUN_FILE, &begun)?;
    Ok(output)
}

/// Keeps room for the result: a command may fill the disk, and succeed.
fn reserve(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    let path = directory.join(RESERVE);
    disk::remove_if_present(disk, &path)?;
    let file = disk.create(&path, PRIVATE_MODE)?;
    match disk.apply(Operation::Allocate { file: &file, size: RESERVED }) {
        // Not every file system can.
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Ok(()),
        result => result,
    }
}

fn conclude(disk: &dyn Disk, directory: &Path, result: &change::Result) -> io::Result<()> {
    // Where it can't be given back, there may be room enough.
    let _ = disk::remove_if_present(disk, &directory.join(RESERVE));
    change::write(disk, directory, RESULT_FILE, result)
}

/// Says to systemd, or else to the daemon, that this runner is in charge.
fn say_ready() -> io::Result<()> {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        return sd_notify::notify(&[NotifyState::Ready]);
    }
    let mut daemon = io::stdout();
    writeln!(daemon, "{READY}")?;
    daemon.flush()
}
