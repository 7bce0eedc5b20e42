//! The order of a local upgrade as a host goes through it (docs/wire/payload-link.md section 5).

use std::time::{Duration, Instant};

use super::firmware;
use super::host::{Host, Reply};
use super::verdict::{Step, Transfer};
use super::words::{self, Entered, Reason, Started, Status};
use super::{Options, Stage, Trouble, Version, Via, dcftp, ftp};

/// Beyond the time that the payload announced: how long a transfer that is not accepted yet is
/// tried again.
const READY_MARGIN: Duration = Duration::from_secs(3);
/// How long a payload that refused to start is listened to for its reason.
const REASON_WAIT: Duration = Duration::from_millis(2500);
/// How often a report is acknowledged that does not stop.
const MOST_ACKNOWLEDGEMENTS: u32 = 60;

/// The whole upgrade; `Ok` is success, seen from outside.
pub(super) fn run(host: &mut Host<'_>, options: &Options) -> Result<(), Trouble> {
    let firmware = firmware::open(options)?;
    host.tell(&Step::Waiting);
    host.wait_for_payload()?;
    host.reach(Stage::Probe)?;
    host.begin(Stage::Version);
    let version = version(host)?;
    host.tell(&Step::Runs { version });
    host.reach(Stage::Version)?;
    host.begin(Stage::Enter);
    let (transfer, ready) = enter(host, options.via)?;
    host.reach(Stage::Enter)?;
    host.begin(Stage::Transfer);
    let handed_over = match transfer {
        Transfer::Ftp => ftp::hand_over(host, &firmware, options, ready),
        Transfer::Dcftp => dcftp::hand_over(host, &firmware, options, ready),
    };
    match handed_over {
        Err(Trouble::Refused { command, code, .. }) => {
            return Err(Trouble::Refused { command, code, reason: why(host)? });
        }
        handed_over => handed_over?,
    }
    host.tell(&Step::Complete);
    host.begin(Stage::Check);
    let first = start(host)?;
    let ended = follow(host, first)?;
    acknowledge(host)?;
    let runs = self::version(host)?;
    host.tell(&Step::RunsNow { version: runs });
    judge(ended, Version::of_file(&firmware.name), runs)
}

fn version(host: &mut Host<'_>) -> Result<Version, Trouble> {
    let answer = host.request(words::VERSION, words::FIRMWARE_VERSION.to_vec())?;
    Version::read(&answer).ok_or(Trouble::Malformed { command: words::VERSION, answer })
}

/// Enters upgrade mode; the time until which the payload may still be busy with its store.
fn enter(host: &mut Host<'_>, via: Via) -> Result<(Transfer, Instant), Trouble> {
    let answer = host.request(words::ENTER, words::ENTER_ACTION.to_vec())?;
    // Those from before tell of an earlier upgrade.
    host.forget_pushes();
    let (transfer, wait) = match Entered::read(&answer) {
        Some(Entered::Ftp { wait }) => (Transfer::Ftp, wait),
        Some(Entered::Dcftp { wait }) => (Transfer::Dcftp, wait),
        Some(Entered::Refused) => return Err(Trouble::EnterRefused),
        None => return Err(Trouble::Malformed { command: words::ENTER, answer }),
    };
    if matches!((via, transfer), (Via::Ftp, Transfer::Dcftp) | (Via::Dcftp, Transfer::Ftp)) {
        return Err(Trouble::OtherTransfer(via));
    }
    host.tell(&Step::Entered { transfer, wait: wait.as_secs() });
    let ready = Instant::now() + wait;
    if host.patience().waits_as_asked {
        // What comes earlier may go with all else that the payload throws away.
        host.idle(ready);
    }
    Ok((transfer, ready + READY_MARGIN))
}

/// Has the payload check and start; returns the status push that came in place of an answer, if one
/// did.
fn start(host: &mut Host<'_>) -> Result<Option<Status>, Trouble> {
    let reply = host.request_start()?;
    // Those from before can't tell of what has only just begun.
    host.forget_pushes();
    host.pushes_are_due();
    let started = match &reply {
        Reply::Status(_) => Some(Started::Yes),
        Reply::Answer(answer) => Started::read(answer),
    };
    match (started, reply) {
        (Some(Started::CheckFailed), _) => Err(Trouble::CheckFailed(why(host)?)),
        (Some(Started::StartFailed), _) => Err(Trouble::StartFailed(why(host)?)),
        (None, Reply::Answer(answer)) => Err(Trouble::Malformed { command: words::START, answer }),
        (_, reply) => {
            host.tell(&Step::Started);
            host.reach(Stage::Check)?;
            Ok(if let Reply::Status(status) = reply { Some(status) } else { None })
        }
    }
}

/// A payload that refuses a step may report why; then it is told that this was heard.
fn why(host: &mut Host<'_>) -> Result<Option<Reason>, Trouble> {
    let deadline = Instant::now() + REASON_WAIT;
    while let Some(status) = host.next_status(deadline) {
        if let Status::End(reason) = status {
            host.tell(&Step::Ended { reason });
            acknowledge(host)?;
            return Ok(Some(reason));
        }
    }
    Ok(None)
}

/// Follows progress and restart to the end, beginning with a status that has come already.
fn follow(host: &mut Host<'_>, mut first: Option<Status>) -> Result<Reason, Trouble> {
    let mut wait = host.patience().silence;
    loop {
        match first
            .take()
            .or_else(|| host.next_status(Instant::now() + wait))
            .ok_or(Trouble::Silent(wait))?
        {
            Status::Ongoing { percent } => {
                host.begin(Stage::Upgrade);
                host.tell(&Step::Progress { percent });
                host.reach(Stage::Upgrade)?;
            }
            Status::Rebooting { timeout } => {
                host.begin(Stage::Reboot);
                host.tell(&Step::Rebooting { timeout: timeout.as_secs() });
                host.reach(Stage::Reboot)?;
                wait = timeout + host.patience().restart;
            }
            Status::End(reason) => {
                host.begin(Stage::End);
                host.tell(&Step::Ended { reason });
                host.reach(Stage::End)?;
                return Ok(reason);
            }
        }
    }
}

/// Says "stop reporting", and again only if the payload goes on: reports that were under way
/// already are no reason.
fn acknowledge(host: &mut Host<'_>) -> Result<(), Trouble> {
    for _ in 0..MOST_ACKNOWLEDGEMENTS {
        host.send(words::CONTROL, words::FINISH.to_vec())?;
        let (sent, quiet) = (Instant::now(), host.patience().quiet);
        // Each report goes to two receivers, so that its second half comes behind the
        // acknowledgement of the first.
        host.idle(sent + quiet / 5);
        host.forget_pushes();
        if host.next_status(sent + quiet).is_none() {
            host.tell(&Step::Acknowledged);
            return Ok(());
        }
    }
    Err(Trouble::NeverQuiet(MOST_ACKNOWLEDGEMENTS))
}

fn judge(ended: Reason, expected: Option<Version>, runs: Version) -> Result<(), Trouble> {
    if !ended.is_success() {
        return Err(Trouble::Reported(ended));
    }
    match expected {
        Some(expected) if expected != runs => Err(Trouble::WrongVersion { expected, runs }),
        _ => Ok(()),
    }
}
