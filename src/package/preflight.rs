//! Asks a program for its version: run by itself, unprivileged where systemd can do that, with a deadline and a
//! bound on what it may print.
//!
//! Knows nothing of packages; the program is not trusted.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, PipeReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::model::{Failure, FailureKind};
use crate::package::version::Version;

/// How long a program may take to print its version.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How much of what it prints is looked at.
const LARGEST_OUTPUT: usize = 16 * 1024;
/// How much of it is quoted when it has no version.
const LARGEST_QUOTE: usize = 200;
/// Pause before looking again for something that tells no event: a descriptor that another thread's child holds for an
/// instant (ETXTBSY), and an exit code that follows the end of the output.
const PAUSE: Duration = Duration::from_millis(2);
/// It exists where systemd is the running init (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";

/// Runs `program` with `arguments` and returns the version that it prints.
///
/// Anything else than a successful end with a version in the output, in time, is `preflight-failed`.
pub fn printed_version(program: &Path, arguments: &[String]) -> Result<Version, Failure> {
    printed_version_until(program, arguments, DEADLINE)
}

fn printed_version_until(program: &Path, arguments: &[String], deadline: Duration) -> Result<Version, Failure> {
    let failed = |reason: String| Failure::new(FailureKind::PreflightFailed, format!("the program did not tell its version: {reason}"));
    let isolated = Path::new(SYSTEMD).exists() && nix::unistd::geteuid().is_root();
    let command = if isolated { isolated_command(program, arguments, deadline) } else { direct_command(program, arguments) };
    let (output, status) = run(command, deadline).map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        let how = status.signal().map_or_else(
            || format!("it ended with exit code {}", status.code().unwrap_or_default()),
            |signal| format!("it was ended by signal {signal}"),
        );
        return Err(failed(how + &quote(&output)));
    }
    find_version(&output).ok_or_else(|| failed(format!("no version such as V01.00.02.10 in what it printed{}", quote(&output))))
}

fn direct_command(program: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    // "/" so that a core dump or a relative path of the program lands nowhere of ours.
    command.args(arguments).current_dir("/");
    command
}

/// The same in a transient unit with a user of its own, no network, and systemd's deadline behind ours.
fn isolated_command(program: &Path, arguments: &[String], deadline: Duration) -> Command {
    let limit = format!("RuntimeMaxSec={}", deadline.as_secs().max(1));
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--pipe", "--wait", "--collect"]);
    for property in ["DynamicUser=yes", "PrivateNetwork=yes", "NoNewPrivileges=yes", "TasksMax=16", &limit] {
        command.args([OsStr::new("--property"), OsStr::new(property)]);
    }
    command.arg("--").arg(program).args(arguments);
    command
}

/// Runs a command until its output ends or the deadline passes; nothing of its process group is left then.
fn run(mut command: Command, deadline: Duration) -> io::Result<(String, ExitStatus)> {
    let until = Instant::now() + deadline;
    let (reader, writer) = io::pipe()?;
    // The version is looked for in both, in the order in which they were written.
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0).env_remove("NOTIFY_SOCKET");
    let child = spawn(&mut command, until)?;
    drop(command); // and with it our ends for writing, or the output would never end
    let group = Group { leader: child, reaped: false };
    let output = read_output(reader, until)?;
    Ok((output, group.wait(until)?))
}

fn spawn(command: &mut Command, until: Instant) -> io::Result<Child> {
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < until => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it did not end in time")
}

fn read_output(mut reader: PipeReader, until: Instant) -> io::Result<String> {
    let mut output = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(std::os::fd::AsFd::as_fd(&reader), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err(too_late()),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            return Ok(String::from_utf8_lossy(&output).into_owned());
        }
        // The rest is read and dropped: a program that fills its pipe would not end.
        let room = LARGEST_OUTPUT - output.len();
        output.extend_from_slice(&buffer[..n.min(room)]);
    }
}

/// A process group of ours; it does not outlive this value.
struct Group {
    leader: Child,
    reaped: bool,
}

impl Group {
    /// Waits for the leader's end, then ends the rest.
    fn wait(mut self, until: Instant) -> io::Result<ExitStatus> {
        // The leader stays a zombie for now, so that its id can't become another group's before ours is ended.
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(self.id()?), look)? == WaitStatus::StillAlive {
            if Instant::now() >= until {
                return Err(too_late());
            }
            std::thread::sleep(PAUSE);
        }
        self.end()
    }

    fn id(&self) -> io::Result<Pid> {
        i32::try_from(self.leader.id()).map(Pid::from_raw).map_err(io::Error::other)
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        killpg(self.id()?, Signal::SIGKILL)?;
        let status = self.leader.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            // It failed or was too late already; that is what is reported.
            let _ = self.end();
        }
    }
}

fn quote(output: &str) -> String {
    let text: String = output.trim().chars().take(LARGEST_QUOTE).collect();
    if text.is_empty() { String::new() } else { format!(" (it printed {text:?})") }
}

/// The first `Vaa.bb.cc.dd` of a text; without one the first plain `a.b.c.d` of numbers up to 99, with or without a V.
pub fn find_version(text: &str) -> Option<Version> {
    let words = || text.split(|c: char| !c.is_alphanumeric() && c != '.').map(|word| word.trim_matches('.'));
    words().find_map(|word| word.parse().ok()).or_else(|| words().find_map(plain_version))
}

fn plain_version(word: &str) -> Option<Version> {
    let mut numbers = [0; 4];
    let mut parts = word.strip_prefix(['V', 'v']).unwrap_or(word).split('.');
    for number in &mut numbers {
        let digits = parts.next().filter(|digits| digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = digits.parse().ok()?;
    }
    if parts.next().is_some() { None } else { Version::new(numbers) }
}

/// Makes a file executable for as long as this value lives; then it has its old mode again.
#[derive(Debug)]
pub(crate) struct Executable {
    path: PathBuf,
    mode: u32,
}

impl Executable {
    /// Readable and executable for all: the user that runs it is not ours.
    pub(crate) fn lend(path: &Path) -> io::Result<Self> {
        let mode = fs::metadata(path)?.permissions().mode();
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
        Ok(Self { path: path.to_owned(), mode })
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        // The swap sets mode and owner anew and reports it when it can't; here nobody could do anything about it.
        let _ = fs::set_permissions(&self.path, Permissions::from_mode(self.mode));
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn shell(script: &str, deadline: Duration) -> Result<Version, Failure> {
        printed_version_until(Path::new("/bin/sh"), &["-c".into(), script.into()], deadline)
    }

    #[test]
    fn a_version_is_found_in_what_people_print() {
        for (text, version) in [
            ("V01.02.03.04", "V01.02.03.04"),
            ("speaker V01.02.03.04, built 2026.01.02.03\n", "V01.02.03.04"),
            ("firmware version: 1.2.3.4", "V01.02.03.04"),
            ("v1.0.3.10.", "V01.00.03.10"),
            ("listening on 10.0.0.1, version V02.00.00.00", "V02.00.00.00"),
            ("app_V01.02.03.04.", "V01.02.03.04"),
        ] {
            assert_eq!(find_version(text).unwrap().to_string(), version, "{text}");
        }
        for text in ["", "1.2.3", "127.0.0.1 is no version", "1.2.3.4.5", "V01.02.03", "01.02.03.0a", "١.٢.٣.٤"] {
            assert_eq!(find_version(text), None, "{text}");
        }
    }

    #[test]
    fn the_version_may_stand_on_either_stream() {
        assert_eq!(shell("echo V01.02.03.04", DEADLINE).unwrap().to_string(), "V01.02.03.04");
        assert_eq!(shell("echo V01.02.03.04 >&2", DEADLINE).unwrap().to_string(), "V01.02.03.04");
        let chatty = "echo V01.02.03.04; i=0; while [ $i -lt 4000 ]; do echo 'many lines of a chatty program'; i=$((i+1)); done";
        assert_eq!(shell(chatty, DEADLINE).unwrap().to_string(), "V01.02.03.04");
    }

    #[test]
    fn each_way_to_fail_is_told() {
        for (script, reason) in [
            ("exit 3", "exit code 3"),
            ("echo V01.02.03.04; exit 1", "exit code 1"),
            ("kill -11 $$", "signal 11"),
            ("echo hello", "no version such as V01.00.02.10 in what it printed (it printed \"hello\")"),
            ("true", "no version"),
        ] {
            let failure = shell(script, DEADLINE).unwrap_err();
            assert_eq!(failure.kind, FailureKind::PreflightFailed);
            assert!(failure.sentence.contains(reason), "{script}: {failure}");
        }
        let failure = printed_version(Path::new("/nonexistent/program"), &[]).unwrap_err();
        assert!(failure.sentence.contains("No such file"), "{failure}");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_all_its_children() {
        let began = Instant::now();
        for script in ["sleep 60", "sleep 60 & echo V01.02.03.04", "exec >/dev/null 2>&1; sleep 60", "exec yes"] {
            let failure = shell(script, Duration::from_millis(200)).unwrap_err();
            assert!(failure.sentence.contains("did not end in time"), "{script}: {failure}");
        }
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_transient_unit_has_a_user_of_its_own_and_a_deadline() {
        let command = isolated_command(Path::new("/opt/p"), &["--version".into()], DEADLINE);
        let arguments: Vec<OsString> = command.get_args().map(OsString::from).collect();
        for expected in ["DynamicUser=yes", "RuntimeMaxSec=5"] {
            assert!(arguments.iter().any(|argument| argument == expected), "{arguments:?}");
        }
        assert_eq!(arguments[arguments.len() - 3..], ["--", "/opt/p", "--version"].map(OsString::from));
    }
}
