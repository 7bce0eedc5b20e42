//! Runs a program of the user's: spawned directly or, by systemd, without rights, as it is
//! configured; with a deadline, and a bound on what it may print. Nothing of it is left when its
//! time is over.
//!
//! Knows nothing of what the program is for; the program is not trusted. Blocks.

use std::ffi::OsStr;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::host::unit;

/// How much of what a program prints is looked at.
const LARGEST_OUTPUT: usize = 16 * 1024;
/// How much of it is quoted.
const LARGEST_QUOTE: usize = 200;
/// Pause before looking again for something that tells no event: a descriptor that another thread's
/// child holds for an instant (ETXTBSY), and an exit code that follows the end of the output.
const PAUSE: Duration = Duration::from_millis(2);
/// What systemd tells where it can't start the program (EXIT_EXEC, systemd.exec(5)).
const NOT_STARTED: i32 = 203;
/// What systemd-run itself tells where the program was ended by a signal.
const KILLED: i32 = 255;
/// It exists where systemd is the running init (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";
/// Where systemd-run asks for what it waits for; the socket that is systemd's own is not enough for
/// it.
const BUS: &str = "/run/dbus/system_bus_socket";

/// Whether a program that is run for a check runs as a user without rights, in a unit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Where systemd runs and can be asked for it.
    #[default]
    Auto,
    /// Or not at all.
    Always,
    /// Directly, with the rights of whoever asks.
    Never,
}

/// What a program may reach, where systemd can see to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Of its directory itself alone, be that closed to others; and no network.
    ItsFile,
    /// No network.
    Files,
    /// What this machine reaches, itself included.
    Machine,
}

/// Why a program that was run is no success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// It could not be started, or did not end in time.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// As the user without rights that runs it, or at all.
    #[error(
        "systemd can't start it as a user without rights (exit code {NOT_STARTED}): that user may not reach it where it is"
    )]
    NotStarted,
    /// It is to be isolated, and can't be.
    #[error(
        "`isolate_commands` is \"always\", and only root, where systemd and its bus run, can have it run as a user without rights"
    )]
    NotIsolated,
    /// It ended badly.
    #[error("it ended {how}{}", quote(output))]
    Ended { how: String, output: String },
}

/// Whether systemd runs here and lets us have it run others.
fn can_isolate() -> bool {
    can_start_units() && has_bus()
}

/// Whether systemd runs here and starts units for us. It is not asked by its bus where nobody waits
/// for their end.
pub(crate) fn can_start_units() -> bool {
    Path::new(SYSTEMD).exists() && nix::unistd::geteuid().is_root()
}

/// Whether systemd runs here, but nothing can be asked of it by its bus: a small Debian has no
/// package `dbus`.
pub(crate) fn lacks_bus() -> bool {
    Path::new(SYSTEMD).exists() && !has_bus()
}

/// The file of a bus that was stopped stays.
fn has_bus() -> bool {
    UnixStream::connect(BUS).is_ok()
}

/// Whether what is isolated so gets a unit of its own here.
pub(crate) fn isolates(isolation: Isolation) -> Result<bool, CommandError> {
    match isolation {
        Isolation::Never => Ok(false),
        Isolation::Auto => Ok(can_isolate()),
        Isolation::Always if can_isolate() => Ok(true),
        Isolation::Always => Err(CommandError::NotIsolated),
    }
}

/// Runs `program` with `arguments` until its end, a successful one; what it printed.
pub(crate) fn run(
    program: &OsStr,
    arguments: &[String],
    reach: Reach,
    isolation: Isolation,
    deadline: Duration,
) -> Result<String, CommandError> {
    let isolated = isolates(isolation)?;
    let command = match isolated {
        true => isolated_command(program, arguments, reach, deadline),
        false => direct_command(program, arguments),
    };
    let (output, status) = output_of(command, deadline)?;
    if status.success() {
        return Ok(output);
    }
    if isolated && status.code() == Some(NOT_STARTED) {
        return Err(CommandError::NotStarted);
    }
    Err(CommandError::Ended { how: how_it_ended(status, isolated), output })
}

fn how_it_ended(status: ExitStatus, isolated: bool) -> String {
    match (status.signal(), status.code().unwrap_or_default()) {
        (Some(signal), _) => format!("by signal {signal}"),
        (None, KILLED) if isolated => format!("with exit code {KILLED}, or by a signal"),
        (None, code) => format!("with exit code {code}"),
    }
}

/// Runs `program` with the caller's rights, under this name, until its end, whatever that is; what
/// it printed, and how it ended.
pub(crate) fn run_as_caller(
    program: &OsStr,
    name: &OsStr,
    arguments: &[&str],
    deadline: Duration,
) -> io::Result<(String, ExitStatus)> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let mut command = direct_command(program, &arguments);
    command.arg0(name);
    output_of(command, deadline)
}

fn direct_command(program: &OsStr, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    // "/" so that a core dump or a relative path of the program lands nowhere of ours.
    command.args(arguments).current_dir("/");
    command
}

/// The same in a transient unit with a user of its own, and systemd's deadline behind ours.
fn isolated_command(
    program: &OsStr,
    arguments: &[String],
    reach: Reach,
    deadline: Duration,
) -> Command {
    // Whole seconds, and the next one: it must not be over before ours, which says that the time
    // was.
    let limit = format!("RuntimeMaxSec={}", deadline.as_secs().saturating_add(1));
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--pipe", "--wait", "--collect"]);
    for property in ["DynamicUser=yes", "NoNewPrivileges=yes", "TasksMax=16", &limit] {
        command.args(["--property", property]);
    }
    if reach != Reach::Machine {
        command.args(["--property", "PrivateNetwork=yes"]);
    }
    if reach == Reach::ItsFile
        && let Some(directory) = Path::new(program).parent()
    {
        // Options follow a colon, so one in the path is escaped, and that once more by the
        // quotation marks.
        let directory = directory.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:");
        command.args([
            "--property",
            &format!("TemporaryFileSystem={}", unit::quoted(&format!("{directory}:ro"))),
        ]);
        command.args([
            "--property",
            &format!("BindReadOnlyPaths={}", unit::quoted(&program.to_string_lossy())),
        ]);
    }
    // The file of the program's path is the one that is started; its arguments, and what it is told
    // as its own name, are read as words of `ExecStart=`. The path must stand as it is, so a
    // program in such a place may be told another name.
    command.arg("--").arg(program).args(arguments.iter().map(|argument| unit::literal(argument)));
    command
}

/// Runs a command until its output ends or the deadline passes; nothing of its process group is
/// left then.
fn output_of(mut command: Command, deadline: Duration) -> io::Result<(String, ExitStatus)> {
    let until = Instant::now() + deadline;
    let (reader, writer) = io::pipe()?;
    // Both in one, in the order in which they were written.
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .env_remove("NOTIFY_SOCKET");
    let child = spawn(&mut command, until)?;
    drop(command); // and with it our ends for writing, or the output would never end
    let group = Group { leader: child, reaped: false };
    let output = read_output(reader, until)?;
    Ok((output, group.wait(until)?))
}

/// Starts a program that may still be held open for an instant by a child that was forked while it
/// was written.
pub(crate) fn spawn(command: &mut Command, until: Instant) -> io::Result<Child> {
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < until =>
            {
                std::thread::sleep(PAUSE);
            }
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
        match poll(
            &mut [PollFd::new(std::os::fd::AsFd::as_fd(&reader), PollFlags::POLLIN)],
            timeout,
        ) {
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
        // The leader stays a zombie for now, so that its id can't become another group's before
        // ours is ended.
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

/// What a program printed, for a sentence about it.
pub(crate) fn quote(output: &str) -> String {
    let text = quoted(output);
    if text.is_empty() { text } else { format!(" (it printed {text})") }
}

/// The beginning of what a program printed, in quotation marks; nothing where that is nothing.
pub(crate) fn quoted(output: &str) -> String {
    let text: String = output.trim().chars().take(LARGEST_QUOTE).collect();
    if text.is_empty() { text } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    /// Generous: a loaded machine is no failure.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// The ways that this machine has.
    fn ways() -> &'static [Isolation] {
        if can_isolate() { &[Isolation::Never, Isolation::Always] } else { &[Isolation::Never] }
    }

    fn shell(script: &str, isolation: Isolation, deadline: Duration) -> Result<String, String> {
        let arguments = ["-c".into(), script.into()];
        run(OsStr::new("/bin/sh"), &arguments, Reach::Files, isolation, deadline)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_way_to_fail_is_told() {
        for (script, direct, isolated) in [
            ("exit 3", "with exit code 3", "with exit code 3"),
            (
                "echo no; exit 1",
                "with exit code 1 (it printed \"no\")",
                "with exit code 1 (it printed \"no\")",
            ),
            ("exit 255", "with exit code 255", "with exit code 255, or by a signal"),
            ("kill -11 0", "by signal 11", "with exit code 255, or by a signal"),
        ] {
            for &way in ways() {
                let how = if way == Isolation::Never { direct } else { isolated };
                assert_eq!(
                    shell(script, way, PATIENCE).unwrap_err(),
                    format!("it ended {how}"),
                    "{script}, {way:?}"
                );
            }
        }
    }

    #[test]
    fn it_runs_with_the_rights_that_are_configured() {
        let asked = |isolation| {
            shell("id -u", isolation, PATIENCE).map(|id| id.trim().parse::<u32>().unwrap())
        };
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(asked(Isolation::Never), Ok(own));
        if can_isolate() {
            // The users that systemd makes for a unit.
            let made = 61_184..=65_519;
            assert!(
                made.contains(&asked(Isolation::Always).unwrap())
                    && made.contains(&asked(Isolation::Auto).unwrap())
            );
        } else {
            assert_eq!(asked(Isolation::Auto), Ok(own));
            assert!(
                asked(Isolation::Always)
                    .unwrap_err()
                    .starts_with("`isolate_commands` is \"always\"")
            );
        }
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_all_its_children() {
        let began = Instant::now();
        const LEAVES_A_CHILD: &str = "sleep 60 & echo done";
        for script in ["sleep 60", LEAVES_A_CHILD, "exec >/dev/null 2>&1; sleep 60", "exec yes"] {
            // systemd ends what a unit's main process leaves, so that the output has its end.
            for &way in
                ways().iter().filter(|way| script != LEAVES_A_CHILD || **way == Isolation::Never)
            {
                let error = shell(script, way, Duration::from_millis(200)).unwrap_err();
                assert!(error.contains("did not end in time"), "{script}, {way:?}: {error}");
            }
        }
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_transient_unit_has_a_user_of_its_own_and_a_deadline() {
        for reach in [Reach::ItsFile, Reach::Files, Reach::Machine] {
            let command = isolated_command(
                OsStr::new("/opt/p"),
                &["--version".into()],
                reach,
                Duration::from_secs(5),
            );
            let arguments: Vec<OsString> = command.get_args().map(OsString::from).collect();
            let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
            assert!(has("DynamicUser=yes") && has("RuntimeMaxSec=6"), "{arguments:?}");
            assert_eq!(has("PrivateNetwork=yes"), reach != Reach::Machine, "{arguments:?}");
            let alone =
                has("TemporaryFileSystem=\"/opt:ro\"") && has("BindReadOnlyPaths=\"/opt/p\"");
            assert_eq!(alone, reach == Reach::ItsFile, "{arguments:?}");
            assert_eq!(
                arguments[arguments.len() - 3..],
                ["--", "/opt/p", "--version"].map(OsString::from)
            );
        }
    }

    #[test]
    fn systemd_puts_no_variable_into_an_argument() {
        let script = "f=/run/works; test -e ${f} && kill $$".to_owned();
        let command = isolated_command(
            OsStr::new("/opt/${HOME}/p"),
            &["$f".into(), script],
            Reach::Machine,
            Duration::from_secs(5),
        );
        let arguments: Vec<OsString> = command.get_args().map(OsString::from).collect();
        let expected = ["/opt/${HOME}/p", "$$f", "f=/run/works; test -e $${f} && kill $$$$"];
        assert_eq!(arguments[arguments.len() - 3..], expected.map(OsString::from));
    }
}
