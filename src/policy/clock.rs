//! What time of the day it is, and whether that can be believed: a payload without a battery for its
//! clock begins each boot years ago.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::config::{Clock, Policy};
use crate::host::command::run_as_caller;

/// systemd-timesyncd makes it when it has set the clock, in a file system that a boot begins empty.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// Longest wait for systemd's answer.
const DEADLINE: Duration = Duration::from_secs(2);
const DAY: u64 = 24 * 60 * 60;

/// Whether the clock was set since the boot, as far as a look at files tells.
pub(super) fn is_marked(policy: &Policy) -> bool {
    policy.clock == Clock::Trusted
        || policy.clock_file.as_deref().unwrap_or(Path::new(SYNCHRONIZED)).exists()
}

/// The same by systemd's word, which knows of whatever else has set it: chrony, ntpd. The kernel
/// itself is not asked: the unit's `ProtectClock=` forbids that. Blocks.
pub(super) fn is_synchronized(policy: &Policy) -> bool {
    if policy.clock_file.is_some() {
        return false;
    }
    let program = OsStr::new("timedatectl");
    let question = ["show", "--property=NTPSynchronized", "--value"];
    run_as_caller(program, program, &question, DEADLINE)
        .is_ok_and(|(said, status)| status.success() && said.trim() == "yes")
}

/// Since midnight, in UTC.
pub(super) fn time_of_day() -> Option<Duration> {
    Some(Duration::from_secs(since_1970()?.as_secs() % DAY))
}

/// Since 1970, in UTC.
#[allow(
    clippy::disallowed_methods,
    reason = "a window is a time of the day, and some peers are told the time; whoever asks knows whether to believe it"
)]
pub(crate) fn since_1970() -> Option<Duration> {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).ok()
}
